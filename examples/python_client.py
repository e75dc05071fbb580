"""The API from Python without generated code: reflection tells what the messages are.

    .deps/venv/bin/python examples/python_client.py [HOST:PORT]
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
service = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName("shira.v1.Inference")
generate = service.methods_by_name["Generate"]
Request, Response = (message_factory.GetMessageClass(kind) for kind in (generate.input_type, generate.output_type))
call = channel.unary_unary("/shira.v1.Inference/Generate", Request.SerializeToString, Response.FromString)

for adapters in ([], [{"name": "pirate"}], [{"name": "pirate", "weight": 0.5}, {"name": "party", "weight": 0.5}]):
    reply = call(Request(chat={"messages": [{"role": "user", "content": "What is the capital of France?"}]},
                         adapter={"adapters": adapters}, stop={"max_tokens": 32}))
    print([adapter.name for adapter in reply.summary.adapter], reply.text)
