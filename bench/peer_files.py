"""Writes the demo model and adapters in every format that the benchmarks need; what is there already stays.

usage: peer_files.py FOLDER

  FOLDER/hf-<dtype>/          the demo model as a Hugging Face folder, for transformers and PEFT
  FOLDER/<dtype>.gguf         the same weights as GGUF, for llama.cpp: its vectors are fp32, as llama.cpp wants them
  FOLDER/lora32.gguf          a LoRA adapter, r = 32 on all linear layers, random, for llama.cpp
  FOLDER/adapters/{equal,distinct}/NN/    64 SHiRA adapters for our server, r = 2: the demo's positions with values of their own, and
                                          positions of their own

All weights are those of the demo's Q4_1 file, dequantised and rounded once to the dtype.
"""

import json
import pathlib
import shutil
import sys

import gguf
import numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
import demo_model  # noqa: E402

DTYPES = {"bfloat16": gguf.GGMLQuantizationType.BF16, "float32": gguf.GGMLQuantizationType.F32, "float16": gguf.GGMLQuantizationType.F16}
FILE_TYPES = {"bfloat16": gguf.LlamaFileType.MOSTLY_BF16, "float32": gguf.LlamaFileType.ALL_F32, "float16": gguf.LlamaFileType.MOSTLY_F16}
ADAPTERS = 64
LORA_RANK = 32
LAYERS, HEADS, KV_HEADS, HIDDEN, KV_WIDTH, MLP = 30, 9, 3, 576, 192, 1536
LINEARS = {  # GGUF's name, (out, in)
    "attn_q": (HIDDEN, HIDDEN), "attn_k": (KV_WIDTH, HIDDEN), "attn_v": (KV_WIDTH, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (MLP, HIDDEN), "ffn_up": (MLP, HIDDEN), "ffn_down": (HIDDEN, MLP),
}


def once(path, write):
    """Calls write(temporary path) and renames, unless the path is there."""
    if path.exists():
        return
    print(f"  {path.name}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.unlink(missing_ok=True)
    write(temporary)
    temporary.rename(path)


def write_hugging_face(dtype):
    def write(path):
        loaded = demo_model.load_model(demo_model.DEFAULT_MODEL, getattr(torch, dtype))
        config = loaded.config
        if hasattr(config, "quantization_config"):  # or transformers takes it for a quantised model, which it cannot save
            del config.quantization_config
        plain = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        plain.load_state_dict(loaded.state_dict())
        plain.save_pretrained(path)

    return write


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        kind = field.types[0]
        sub_type = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=sub_type)


def write_gguf(dtype):
    def write(path):
        reader = gguf.GGUFReader(demo_model.DEFAULT_MODEL)
        writer = gguf.GGUFWriter(path, "llama")
        copy_metadata(reader, writer)
        writer.add_file_type(FILE_TYPES[dtype])
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            kind = DTYPES[dtype] if values.ndim > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        finish(writer)

    return write


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_lora(path):
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(LORA_RANK))
    kind = DTYPES["bfloat16"]
    for layer in range(LAYERS):
        for name, (rows, cols) in LINEARS.items():
            for suffix, shape in (("lora_a", (LORA_RANK, cols)), ("lora_b", (rows, LORA_RANK))):
                values = random.standard_normal(shape, dtype=numpy.float32) * 0.01
                writer.add_tensor(f"blk.{layer}.{name}.weight.{suffix}", gguf.quants.quantize(values, kind), raw_dtype=kind)
    finish(writer)


def write_adapter(number, own_positions):
    """The demo's pirate with other values of the same spread; own_positions draws other distinct positions, too."""
    source = demo_model.ADAPTERS / "pirate"

    def write(path):
        generator = torch.Generator().manual_seed(1000 + number)
        tensors = load_file(source / "adapter_model.safetensors")
        config = json.loads((source / "adapter_config.json").read_text())
        out = {}
        for name, tensor in tensors.items():
            if not name.endswith("shira_weight"):
                continue
            indices = tensors[name.replace("shira_weight", "shira_indices")]
            if own_positions:
                rows, cols = shape_of(name)
                flat = torch.randperm(rows * cols, generator=generator)[: tensor.numel()].sort().values
                indices = torch.stack([flat // cols, flat % cols]).to(torch.int32)
            out[name] = torch.randn(tensor.shape, generator=generator) * tensor.std()
            out[name.replace("shira_weight", "shira_indices")] = indices.contiguous()
        path.mkdir()
        save_file(out, path / "adapter_model.safetensors", metadata={"format": "pt"})
        (path / "adapter_config.json").write_text(json.dumps({**config, "random_seed": 1000 + number if own_positions else 1}))

    return write


def shape_of(name):
    module = name.split(".")[-2]
    return {"q_proj": (HIDDEN, HIDDEN), "k_proj": (KV_WIDTH, HIDDEN), "v_proj": (KV_WIDTH, HIDDEN), "o_proj": (HIDDEN, HIDDEN),
            "gate_proj": (MLP, HIDDEN), "up_proj": (MLP, HIDDEN), "down_proj": (HIDDEN, MLP)}[module]


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    demo_model.use_repeatable_arithmetic(1)
    for dtype in DTYPES:
        once(folder / f"hf-{dtype}", write_hugging_face(dtype))
        once(folder / f"{dtype}.gguf", write_gguf(dtype))
    once(folder / "lora32.gguf", write_lora)
    for kind in ("equal", "distinct"):
        for number in range(ADAPTERS):
            once(folder / "adapters" / kind / f"{number:02}", write_adapter(number, kind == "distinct"))


if __name__ == "__main__":
    main()
