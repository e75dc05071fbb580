"""A real shira-server as a child process, and a client made of what its reflection tells."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import grpc
import shira_testutil
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

START_TIMEOUT = 60


class Service:
    """The methods of one service as Python functions: Service.Method(field=..., timeout=...).

    A method that takes a stream has the fields of each message as a dict: Service.Method([{...}, {...}]). `timeout` is the call's; a field of that name is set by `request_timeout`.
    """

    def __init__(self, channel, pool, name):
        service = pool.FindServiceByName(name)
        for method in service.methods:
            setattr(self, method.name, self._callable(channel, service, method))

    @staticmethod
    def _callable(channel, service, method):
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)
        if method.client_streaming:
            make = channel.stream_unary
        else:
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = make(
            f"/{service.full_name}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )

        def invoke_with_stream(requests, timeout=60):
            return call((request_class(**fields) for fields in requests), timeout=timeout)

        def invoke(timeout=60, wait=True, request_timeout=None, metadata=None, **fields):
            if request_timeout is not None:
                fields["timeout"] = request_timeout
            request = request_class(**fields)
            invoked = call if wait else call.future
            return invoked(request, timeout=timeout, metadata=metadata)

        return invoke_with_stream if method.client_streaming else invoke


class _Metadata(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
                grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds metadata to every call."""

    def __init__(self, metadata):
        self._metadata = metadata

    def _intercept(self, continuation, details, request):
        return continuation(details._replace(metadata=[*(details.metadata or ()), *self._metadata]), request)

    intercept_unary_unary = intercept_unary_stream = _intercept
    intercept_stream_unary = intercept_stream_stream = _intercept


def open_channel(target, credentials=None, token=None):
    # Servers come and go on one port; a channel pool would remember the dead ones.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (grpc.secure_channel(target, credentials, options=options) if credentials
               else grpc.insecure_channel(target, options=options))
    return grpc.intercept_channel(channel, _Metadata([("authorization", f"Bearer {token}")])) if token else channel


class Client:
    """`services`: those that the port has, by the names of the attributes."""

    SERVICES = {"inference": "shira.v1.Inference", "admin": "shira.v1.AdapterAdmin",
                "operations": "shira.v1.Operations"}

    def __init__(self, target, credentials=None, token=None, services=tuple(SERVICES)):
        self.channel = open_channel(target, credentials, token)
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        for name in services:
            setattr(self, name, Service(self.channel, self.pool, self.SERVICES[name]))
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def serving(self, service=""):
        reply = self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    def stream(self, timeout=60, **request):
        return self.inference.StreamGenerate(request=request, timeout=timeout)


def collect(stream):
    """(text, token ids, summary) of a stream; every chunk has been valid UTF-8, or protobuf would have refused it."""
    text, ids, summary = "", [], None
    for message in stream:
        assert summary is None, "the summary is the last message"
        if message.WhichOneof("event") == "chunk":
            text += message.chunk.text
            ids += message.chunk.token_ids
        else:
            summary = message.summary
    assert summary is not None
    return text, ids, summary


def error_of(call):
    """(code, ErrorInfo, RetryInfo or None, message) of the RpcError that `call()` raises."""
    try:
        call()
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or {}).get("grpc-status-details-bin")
        assert details is not None, f"no details in {error}"
        status = status_pb2.Status.FromString(details)
        assert status.code == error.code().value[0] and status.message == error.details()
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        has_retry = False
        for detail in status.details:
            detail.Unpack(info)
            has_retry |= detail.Unpack(retry)
        assert info.domain == "shira" and re.fullmatch("[A-Z][A-Z0-9_]+", info.reason), status
        return error.code(), info, retry if has_retry else None, error.details()
    raise AssertionError("the call succeeded")


# For tests that look at a server's memory: the address sanitizer, too, gives back what is freed.
FREES_AT_ONCE = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:allocator_release_to_os_interval_ms=0"}


class ServerProcess:
    """Runs until the end of a with block, unless it ends by itself. `http`: HTTP's address; None: gRPC alone."""

    def __init__(self, *flags, listen="127.0.0.1:0", http=None, wait=True, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        self.port_file = pathlib.Path(self.folder.name) / "port"
        self.http_port_file = pathlib.Path(self.folder.name) / "http_port"
        self.log_file = pathlib.Path(self.folder.name) / "log"
        if http is not None:
            flags += ("--http-listen", http, "--http-port-file", self.http_port_file)
        if "--drain-delay" not in flags:
            flags += ("--drain-delay", 0)  # nobody watches the health
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [shira_testutil.binary("shira-server"), "--listen", listen, "--port-file", self.port_file, "--log-level",
                 "debug", *map(str, flags)],
                stderr=log,
                env={**os.environ, "OMP_WAIT_POLICY": "passive", **(environment or {})},
            )
        self.target = None
        if wait:
            self.wait_until_serving()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def log(self):
        return self.log_file.read_text()

    def wait_until_serving(self):
        deadline = time.monotonic() + START_TIMEOUT
        while not self.port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start: {self.log()}")
            time.sleep(0.02)
        address = self.port_file.read_text().strip()
        self.target = address if address.startswith("unix:") else f"127.0.0.1:{address}"

    def client(self, **options):
        return Client(self.target, **options)

    def http_port(self):
        """Of a server with `http`, once it serves."""
        return int(self.http_port_file.read_text())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def resident_bytes(self):
        """Of the process, without what it has mapped from files."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=30):
        return self.process.wait(timeout)
