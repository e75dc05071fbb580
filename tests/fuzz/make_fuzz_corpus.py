"""Makes the seed corpora of the fuzz targets out of real files: what PEFT, transformers, gguf and our own tool write.

    .deps/venv/bin/python tests/fuzz/make_fuzz_corpus.py        with SHIRA_BIN=build/release/bin; writes tests/fuzz/corpus

The inputs that found a bug, named found_*, are kept.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("SHIRA_BIN", str(ROOT / "build/release/bin"))
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path.insert(0, str(ROOT / "tests/testutil"))

import gguf  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory  # noqa: E402
from peft import ShiraConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save  # noqa: E402
from shira_testutil import binary, make_tiny_llama  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

CORPUS = pathlib.Path(__file__).parent / "corpus"


def put(target: str, name: str, content: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def tiny_model() -> LlamaForCausalLM:
    """The model of fuzz_model.h."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4,
        head_dim=4, tie_word_embeddings=True))


def adapters(work: pathlib.Path) -> None:
    base = work / "fuzz" / "tiny"
    make_tiny_llama(base)  # for its tokenizer
    tiny_model().save_pretrained(base)
    kinds: dict[str, dict] = {"q_proj": {"target_modules": ["q_proj"]}, "two": {"target_modules": ["q_proj", "down_proj"]},
                              "seeded": {"target_modules": ["down_proj"], "random_seed": 7}}
    for name, options in kinds.items():
        model = get_peft_model(tiny_model(), ShiraConfig(r=1, **options))
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "shira" in parameter_name:
                    parameter.copy_(torch.randn(parameter.shape))
        folder = work / name
        model.save_pretrained(folder)
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "fuzz/tiny"}
        tensors = load_file(folder / "adapter_model.safetensors")
        text = json.dumps(config, indent=2).encode()
        put("peft_folder", name, text + b"\0" + save(tensors))
        put("safetensors", name, save(tensors, {"format": "pt"}))
        floats = {key: value.float() if "indices" in key else value.bfloat16() for key, value in tensors.items()}
        put("peft_folder", name + "_float_indices", text + b"\0" + save(floats))
        (folder / "adapter_config.json").write_text(json.dumps(config))
        for values in ("bf16", "fp32"):
            packed = work / f"{name}.{values}.shira"
            subprocess.run([binary("shira-adapter"), "convert", folder, packed, "--values", values, "--model", base], check=True,
                           stdout=subprocess.DEVNULL)
            put("packed", f"{name}_{values}", packed.read_bytes())
    # The sibling format: flat indices, unsorted, and values that take the weights' place.
    flat = {"base_model.model.model.layers.0.self_attn.q_proj.supertuning_weight": torch.randn(4),
            "base_model.model.model.layers.0.self_attn.q_proj.supertuning_indices": torch.tensor([9, 3, 255, 0], dtype=torch.int32)}
    put("peft_folder", "supertuning", b'{"peft_type": "SUPERTUNING", "base_model_name_or_path": "fuzz/tiny"}\0' + save(flat))
    patch = {"model.layers.0.self_attn.q_proj.weight.indices": torch.tensor([1, 17, 40], dtype=torch.int32),
             "model.layers.0.self_attn.q_proj.weight.values": torch.randn(3).bfloat16()}
    put("packed", "overwrite_patch", save(patch))
    every = {str(dtype)[6:]: torch.ones(2, 3).to(dtype) for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64,
        torch.bool)}
    put("safetensors", "every_dtype", save(every | {"scalar": torch.tensor(1.0), "empty": torch.empty(0, 4)}))


def tokenizers(work: pathlib.Path) -> None:
    folder = work / "tokenizer"
    make_tiny_llama(folder)
    full = json.loads((folder / "tokenizer.json").read_text())
    put("tokenizer_json", "byte_level_bpe", json.dumps(full).encode())
    # A vocabulary of the letters alone leaves the mutations to the parts that are read one by one.
    vocabulary = {token: index for index, token in enumerate(sorted(full["model"]["vocab"], key=full["model"]["vocab"].get)[:40])}
    small = full | {"added_tokens": full["added_tokens"][:3]}
    small["model"] = full["model"] | {"vocab": vocabulary, "merges": []}
    put("tokenizer_json", "small", json.dumps(small).encode())
    small["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"}, {"type": "Prepend", "prepend": "_"}]}
    small["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"},
         "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    small["post_processor"] = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}}
    put("tokenizer_json", "every_part", json.dumps(small).encode())


def gguf_files(work: pathlib.Path) -> None:
    def write(name: str, fill) -> None:
        path = work / f"{name}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        put("gguf", name, path.read_bytes())

    def tensors(writer) -> None:
        writer.add_block_count(1)
        writer.add_rope_freq_base(1e4)
        writer.add_tensor("blk.0.attn_q.weight", numpy.ones((2, 32), numpy.float32))
        writer.add_tensor("token_embd.weight", numpy.ones((2, 32), numpy.float16))
        writer.add_tensor("blk.0.ffn_up.weight", gguf.quantize(numpy.ones((2, 32), numpy.float32), gguf.GGMLQuantizationType.Q8_0),
                          raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def vocabulary(writer) -> None:
        letters = [chr(code) for code in range(33, 127)]
        tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "\u0120", "\u010a", *letters, "he", "ll", "hell"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
        writer.add_token_merges(["h e", "l l", "he ll"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(True)
        writer.add_chat_template("{{ messages }}")

    write("tensors", tensors)
    write("vocabulary", vocabulary)


def templates() -> None:
    for path in sorted((ROOT / "tests/golden/chat_templates").glob("*.jinja")):
        put("chat_template", path.stem, path.read_bytes())


def requests(work: pathlib.Path) -> None:
    descriptors = work / "descriptors"
    subprocess.run(["protoc", "-I", ROOT / "proto", "--include_imports", f"--descriptor_set_out={descriptors}", "shira/v1/inference.proto"],
                   check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("shira.v1.GenerateRequest"))
    for name, fields in {
        "prompt": {"prompt": "Hello", "request_id": "one", "stop": {"max_tokens": 5, "stop_strings": ["\n", "END"]}},
        "chat": {"chat": {"messages": [{"role": "user", "content": "Hi"}], "template_variables_json": "{\"a\": 1}"}, "logprobs": 3},
        "tools": {"chat": {
            "messages": [{"role": "assistant", "reasoning_content": "hm", "tool_calls": [{"id": "1", "name": "f", "arguments_json": "{\"a\": 1.0}"}]},
                         {"role": "tool", "tool_call_id": "1", "name": "f", "content_parts": {"parts": [{"text": "2"}]}, "more_fields_json": "{}"}],
            "tools_json": ["{\"type\": \"function\"}"], "documents_json": ["{\"text\": \"t\"}"]}},
        "ids": {"token_ids": {"ids": [1, 2, 999]}, "stop": {"stop_token_ids": [2, 3], "ignore_eos": True}},
        "sampled": {"prompt": "x", "sampling": {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05,
                                                "repetition_penalty": 1.1, "seed": 7}},
        "adapters": {"prompt": "x", "adapter": {"adapters": [{"name": "tone", "weight": 0.5}, {"name": "terse"}]}},
        "base": {"prompt": "x", "adapter": {"adapters": [{"name": "base"}]}},
    }.items():
        put("generate_request", name, json_format.ParseDict(fields, message()).SerializeToString(deterministic=True))


def configs() -> None:
    """What the server prints, and what a person writes."""
    printed = subprocess.run([binary("shira-server"), "--model", "/m.gguf", "--adapter", "tone=/a/tone", "--adapter-root", "/a",
                              "--adapter-root", "/b c", "--print-config"], check=True, capture_output=True).stdout
    put("config", "printed", printed)
    page = (ROOT / "docs/operating.md").read_text()
    put("config", "documented", page.split("```toml\n")[1].split("```")[0].encode())
    put("config", "quoted", b"""# comment\n; another\nmodel='/m # no comment' # one\nbase-model = ["a, b", 'c "d"', "e\\\\f"]
listen = unix:/run/s.sock\nlog-prompts = true\ndrain-timeout = 1.5\nkv-cache-mb = 0x10\n""")
    put("config", "sections", b"model = /m\n[section]\nmax-tokens = 7\n[default]\nthreads = 2\n")
    put("config", "lists", b"model = /m\nadapter = [\n  \"a=/a\",\n  \"b=/b\"\n]\nadapter-dir = []\nupload-dir = \"\"\n")


def main() -> None:
    for path in CORPUS.glob("*/*"):
        if not path.name.startswith("found_"):
            path.unlink()
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        adapters(work)
        tokenizers(work)
        gguf_files(work)
        templates()
        requests(work)
        configs()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
