"""The packed file against Python: safetensors opens it, a decoder written from docs/adapter_format.md finds PEFT's own tensors in it,
and it is as small and as quick to load as that page says. Prints the figures."""

import hashlib
import itertools
import json
import pathlib
import re
import struct
import tempfile
import time
import warnings

import torch
from peft import PeftModel, ShiraConfig, get_peft_model
from peft.tuners.shira.mask_functions import random_mask
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from shira_testutil import run_binary, tensor_bytes

DEMO_ADAPTERS = pathlib.Path(__file__).parents[3] / "examples" / "adapters"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def smollm2() -> LlamaForCausalLM:
    """A model of the demo model's shape, without its weights."""
    config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3, tie_word_embeddings=True)
    return LlamaForCausalLM(config).eval()


def unpack_positions(data: bytes) -> tuple[int, int, list[int]]:
    rows, cols, entries, parameter = struct.unpack_from("<4I", data)
    if entries == rows * cols:
        assert len(data) == 16
        return rows, cols, list(range(entries))
    stream = int.from_bytes(data[16:], "little")
    position, positions, bit = -1, [], 0
    for _ in range(entries):
        window = (stream >> bit) & ((1 << 64) - 1)
        q = (window & -window).bit_length() - 1 if window else 64
        if q < 24:
            gap = (q << parameter) | ((window >> (q + 1)) & ((1 << parameter) - 1))
            bit += q + 1 + parameter
        else:
            gap = (window >> 24) & ((1 << 40) - 1)
            bit += 64
        position += gap + 1
        positions.append(position)
    assert stream >> bit == 0 and len(data) == 16 + (bit + 63) // 64 * 8
    return rows, cols, positions


def digest(file, names: list[str]) -> str:
    sha = hashlib.sha256()

    def add(data: bytes) -> None:
        sha.update(struct.pack("<Q", len(data)) + data)

    for key, value in sorted(file.metadata().items()):
        if key != "digest":
            add(key.encode())
            add(value.encode())
    dtypes = {torch.uint8: b"U8", torch.bfloat16: b"BF16", torch.float32: b"F32"}
    for name in sorted(names):
        tensor = file.get_tensor(name)
        add(name.encode())
        add(dtypes[tensor.dtype])
        add(tensor_bytes(tensor))
    return sha.hexdigest()


def check_packed(path: pathlib.Path, source: pathlib.Path, bf16: bool) -> None:
    """Every tensor that PEFT saved is in the packed file."""
    expected = load_file(source / "adapter_model.safetensors")
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        metadata = file.metadata()
        assert metadata["format"] == "shira.packed" and metadata["version"] == "1"
        assert metadata["source_format"] == "peft_shira"
        assert metadata["source_digest"] == hashlib.sha256((source / "adapter_model.safetensors").read_bytes()).hexdigest()
        assert metadata["digest"] == digest(file, names)
        tables = {name.split(".")[1]: unpack_positions(tensor_bytes(file.get_tensor(name)))
                  for name in names if name.startswith("tables.")}
        found = {}
        for name in names:
            if name.startswith("tables."):
                continue
            parameter, kind, table = name.rsplit(".", 2)
            assert kind == "delta"
            rows, cols, positions = tables[table]
            flat = torch.tensor(positions)
            prefix = "base_model.model." + parameter.removesuffix(".weight")
            found[prefix + ".shira_indices"] = torch.stack([flat // cols, flat % cols]).to(torch.int32)
            found[prefix + ".shira_weight"] = file.get_tensor(name)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if bf16 and name.endswith("shira_weight"):
            tensor = tensor.to(torch.bfloat16)
        assert torch.equal(found[name].to(tensor.dtype).view(torch.uint8), tensor.view(torch.uint8)), name


def check_worked_example(root: pathlib.Path) -> None:
    """The page's example is what the writer makes of the adapter that the page describes."""
    page = (pathlib.Path(__file__).parents[3] / "docs" / "adapter_format.md").read_text()
    dump = re.findall(r"^[0-9a-f]{8}: ([0-9a-f ]{39})  ", page, re.MULTILINE)
    folder = root / "example"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type":"SHIRA"}')
    save_file({"base_model.model.a.shira_indices": torch.tensor([[0, 0, 0, 2, 3], [1, 6, 7, 1, 6]], dtype=torch.int32),
               "base_model.model.a.shira_weight": torch.tensor([0.5, -1, 2, 0.25, -0.125])}, folder / "adapter_model.safetensors")
    (root / "example.json").write_text('{"a.weight": [4, 8]}')
    load(root / "example.json", folder, root / "example.shira", "exact")
    assert (root / "example.shira").read_bytes() == bytes.fromhex("".join(dump)), "docs/adapter_format.md: another example"
    check_packed(root / "example.shira", folder, bf16=False)


def load(shapes: pathlib.Path, *args) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in run_binary("load_adapter", shapes, *args).stdout.splitlines())


def own_masks() -> ShiraConfig:
    """PEFT's default gives equal layers equal masks, whether or not there is a seed; this one does not."""
    seeds = itertools.count()
    config = ShiraConfig(r=2, target_modules=TARGETS, mask_type="own", init_weights=False)
    config.mask_fn = lambda base_layer, r, **_: random_mask(base_layer, r, random_seed=next(seeds))
    return config


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        check_worked_example(root)
        shapes = root / "shapes.json"
        model = smollm2()
        shapes.write_text(json.dumps({name: list(parameter.shape) if parameter.dim() == 2 else [1, len(parameter)]
                                      for name, parameter in model.named_parameters()}))
        start = time.perf_counter()
        peft = PeftModel.from_pretrained(model, DEMO_ADAPTERS / "pirate")
        peft_seconds = time.perf_counter() - start
        # As the demo's, but every layer has positions of its own.
        unshared = root / "unshared"
        get_peft_model(peft.unload(), own_masks()).save_pretrained(unshared)
        for source in [*sorted(folder for folder in DEMO_ADAPTERS.iterdir() if folder.is_dir()), unshared]:
            original = (source / "adapter_model.safetensors").stat().st_size
            for mode in ("exact", "bf16"):
                packed = root / f"{source.name}.{mode}.shira"
                report = load(shapes, source, packed, mode)
                check_packed(packed, source, mode == "bf16")
                loaded = load(shapes, packed)
                entries = int(report["entries"])
                per_entry = packed.stat().st_size / entries
                print(f"{source.name} {mode}: {per_entry:.2f} B per entry, PEFT {original / entries:.2f}; tables "
                      f"{report['tables']}, {int(report['table_bytes']) / entries:.3f} B per entry; loads in "
                      f"{float(loaded['milliseconds']):.1f} ms, PEFT's file in {float(report['milliseconds']):.1f} ms; "
                      f"largest rounding error {report['max_rounding_error']}")
                if mode == "bf16":
                    assert per_entry < (3.3 if source == unshared else 2.1), per_entry
                else:
                    assert float(report["max_rounding_error"]) == 0
                    assert per_entry < (5.3 if source == unshared else 4.1), per_entry
        ours = float(load(shapes, root / "pirate.bf16.shira")["milliseconds"]) / 1000
        print(f"pirate: PEFT loads it in {peft_seconds:.2f} s, the packed file is loaded in {ours * 1000:.1f} ms: "
              f"{peft_seconds / ours:.0f} times faster")
        assert ours * 10 < peft_seconds


main()
