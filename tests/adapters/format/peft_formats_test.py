"""Every format against PEFT and torch: an adapter saved with each option, and the same adapter packed, gives the weights of
merge_and_unload(), bit for bit, in fp32 and bf16; an overwrite patch gives what torch's index_copy_ gives."""

import copy
import json
import pathlib
import shutil
import subprocess
import tempfile
import warnings

import torch
from peft import PeftModel, ShiraConfig, SupertuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from shira_testutil import binary, parameter_hashes, run_binary

TARGETS = ["q_proj", "v_proj", "down_proj"]
_BASES: dict[torch.dtype, LlamaForCausalLM] = {}


def make_base(dtype: torch.dtype) -> LlamaForCausalLM:
    if dtype not in _BASES:
        torch.manual_seed(0)
        config = LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                             num_key_value_heads=2, tie_word_embeddings=False)
        _BASES[dtype] = LlamaForCausalLM(config).to(dtype).eval()
    return copy.deepcopy(_BASES[dtype])


def make_adapter(folder: pathlib.Path, config, seed: int = 1, save_embedding_layers="auto") -> pathlib.Path:
    """Saved by PEFT, with random values in everything that is trained."""
    torch.manual_seed(seed)
    model = get_peft_model(make_base(torch.float32), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save.default" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder, save_embedding_layers=save_embedding_layers)
    return folder


def other_whole_matrices(tensors: dict) -> dict:
    """As trained on a base with other embeddings."""
    return {name: tensor if ".shira" in name or "supertuning" in name else tensor + 0.01 for name, tensor in tensors.items()}


def edit(source: pathlib.Path, folder: pathlib.Path, tensors=None, config=None) -> pathlib.Path:
    """A copy of an adapter's folder with its tensors or its config changed."""
    shutil.copytree(source, folder)
    if tensors is not None:
        path = folder / "adapter_model.safetensors"
        save_file(tensors(load_file(path)), path, metadata={"format": "pt"})
    if config is not None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def as_float32(tensors: dict) -> dict:
    """As PEFT saves them on Windows."""
    return {name: tensor.to(torch.float32) if name.endswith("shira_indices") else tensor for name, tensor in tensors.items()}


def merged(dtype: torch.dtype, folder: pathlib.Path) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parameter_hashes(PeftModel.from_pretrained(make_base(dtype), folder).merge_and_unload())


def make_patch(path: pathlib.Path, names: tuple[str, str], index_dtype: torch.dtype, gaps: bool) -> None:
    """New values for a few elements of some parameters, a vector among them."""
    torch.manual_seed(5)
    tensors = {}
    for name, parameter in make_base(torch.float32).named_parameters():
        if "layers.1" not in name:
            continue
        indices = torch.randperm(parameter.numel())[: max(1, parameter.numel() // 50)]
        if gaps:
            indices = indices.sort().values
            indices = torch.diff(indices, prepend=torch.tensor([-1])) - 1
        tensors[f"{name}.{names[0]}"] = indices.to(index_dtype)
        values = torch.randn(len(indices)).to(torch.bfloat16)
        values[::7] = -0.0  # added to anything but itself, this would become 0.0
        tensors[f"{name}.{names[1]}"] = values
    save_file(tensors, path, metadata={"format": "sparse_weight_patch", "encoding": "gap_delta"} if gaps else None)


def patched(dtype: torch.dtype, path: pathlib.Path, names: tuple[str, str], gaps: bool) -> dict[str, str]:
    model = make_base(dtype)
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (indices := tensors.get(f"{name}.{names[0]}")) is not None:
                indices = indices.long()
                if gaps:
                    indices = torch.cumsum(indices + 1, 0) - 1
                parameter.view(-1).index_copy_(0, indices, tensors[f"{name}.{names[1]}"].to(dtype))
    return parameter_hashes(model)


def check_conv1d_is_refused_by_peft() -> None:
    """The reason why fan_in_fan_out has no effect: PEFT has no layer that would use it."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    try:
        get_peft_model(model, ShiraConfig(r=1, target_modules=["c_attn"], fan_in_fan_out=True))
    except TypeError as error:
        assert "torch.nn.Linear" in str(error), error
        return
    raise AssertionError("PEFT's SHiRA takes Conv1D now: peft_shira has to transpose its indices")


def main() -> None:
    check_conv1d_is_refused_by_peft()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        shira = make_adapter(root / "shira", ShiraConfig(r=2, target_modules=TARGETS, random_seed=1, init_weights=False))
        adapters = [
            shira,
            edit(shira, root / "float32_indices", tensors=as_float32),
            edit(shira, root / "fan_in_fan_out", config={"fan_in_fan_out": True}),
            make_adapter(root / "modules_to_save", ShiraConfig(r=1, target_modules=["q_proj"], init_weights=False,
                                                               modules_to_save=["lm_head", "norm", "embed_tokens"])),
            make_adapter(root / "supertuning", SupertuningConfig(target_modules=TARGETS, sparsity=0.97, init_weights=False)),
            make_adapter(root / "lm_head", ShiraConfig(r=2, target_modules=["lm_head", "q_proj"], init_weights=False)),
            make_adapter(root / "lm_head_supertuning", SupertuningConfig(target_modules=["lm_head", "q_proj"], sparsity=0.9,
                                                                         init_weights=False)),
            make_adapter(root / "embeddings", ShiraConfig(r=1, target_modules=["v_proj"], init_weights=False),
                         save_embedding_layers=True),
            make_adapter(root / "embeddings_and_modules", ShiraConfig(r=1, target_modules=["v_proj"], init_weights=False,
                                                                      modules_to_save=["lm_head"]), save_embedding_layers=True),
            make_adapter(root / "supertuning_modules", SupertuningConfig(target_modules=["o_proj"], sparsity=0.9,
                                                                         init_weights=False, modules_to_save=["lm_head"])),
        ]
        # PEFT loads these into the base, beneath the adapter: what they are packed to depends on the base.
        unpacked = [edit(root / name, root / f"{name}_of_another_base", tensors=other_whole_matrices)
                    for name in ("lm_head", "lm_head_supertuning", "embeddings")]
        patches = []
        for names, index_dtype, gaps in [(("indices", "values"), torch.int32, False), (("indices", "values"), torch.int64, False),
                                         (("idx", "val"), torch.int32, False), (("idx", "val"), torch.uint16, True),
                                         (("idx", "val"), torch.uint32, True)]:
            path = root / f"patch_{names[0]}_{index_dtype}_{gaps}.safetensors"
            make_patch(path, names, index_dtype, gaps)
            patches.append((path, names, gaps))

        shapes = {name: list(parameter.shape) if parameter.dim() == 2 else [1, parameter.shape[0]]
                  for name, parameter in make_base(torch.float32).named_parameters()}
        (root / "shapes.json").write_text(json.dumps(shapes))
        packed = {}
        for path in [*adapters, *(path for path, _, _ in patches)]:
            packed[path] = root / f"{path.name}.shira"
            run_binary("load_adapter", root / "shapes.json", path, packed[path], "exact")

        compared = 0
        for dtype in (torch.float32, torch.bfloat16):
            base = make_base(dtype)
            base_file = root / "base.safetensors"
            save_file({name: parameter.detach().clone() for name, parameter in base.named_parameters()}, base_file)
            cases = [(path, merged(dtype, path)) for path in adapters]
            cases += [(path, patched(dtype, path, names, gaps)) for path, names, gaps in patches]
            cases += [(packed[path], expected) for path, expected in cases]
            cases += [(path, merged(dtype, path)) for path in unpacked]
            untouched = parameter_hashes(base)
            assert all(expected != untouched for _, expected in cases)
            output = subprocess.run([binary("print_switched_hashes"), base_file, *(f"{path}=1" for path, _ in cases)],
                                    check=True, capture_output=True, text=True).stdout
            found: list[dict[str, str]] = [{} for _ in cases]
            for line in output.splitlines():
                number, name, digest = line.split()
                found[int(number)][name] = digest
            for (path, expected), actual in zip(cases, found):
                different = [name for name in expected if expected[name] != actual[name]]
                assert not different, f"{dtype}, {path.name}: {different} differ"
                assert expected.keys() == actual.keys()
                compared += len(expected)
        print(f"{compared} parameter hashes equal")


main()
