"""What the tests of shira-adapter share: a tiny model on disk, adapters made by PEFT, and running the tool."""

import json
import pathlib
import subprocess

import torch
from peft import PeftModel, ShiraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from shira_testutil import run_binary

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_base(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, tie_word_embeddings=True)
    return LlamaForCausalLM(config).to(dtype).eval()


def save_base(folder: pathlib.Path, dtype: torch.dtype = torch.float32, **options) -> pathlib.Path:
    make_base(dtype).save_pretrained(folder, **options)
    return folder


def make_shira(folder: pathlib.Path, seed: int, r: int, targets: list[str]) -> pathlib.Path:
    """A PEFT SHiRA adapter with random values, saved as PEFT saves it."""
    torch.manual_seed(seed)
    config = ShiraConfig(r=r, target_modules=targets, random_seed=seed, init_weights=False)
    get_peft_model(make_base(), config).save_pretrained(folder)
    return folder


def merged(folder: pathlib.Path, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The weights that PEFT makes of the base and an adapter's folder."""
    model = PeftModel.from_pretrained(make_base(dtype), folder).merge_and_unload()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def dense_deltas(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """A PEFT SHiRA folder's deltas as dense matrices, by parameter."""
    tensors = load_file(folder / "adapter_model.safetensors")
    shapes = {name: parameter.shape for name, parameter in make_base().named_parameters()}
    dense = {}
    for name, values in tensors.items():
        if name.endswith(".shira_weight"):
            parameter = name.removeprefix("base_model.model.").removesuffix(".shira_weight") + ".weight"
            rows, cols = tensors[name.replace("shira_weight", "shira_indices")].long()
            dense[parameter] = torch.zeros(shapes[parameter], dtype=values.dtype).index_put((rows, cols), values)
    return dense


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equality that tells -0.0 from 0.0."""
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def tool(*args, check: bool = True) -> subprocess.CompletedProcess:
    return run_binary("shira-adapter", *args, check=check)


def tool_json(*args) -> dict:
    return json.loads(tool(*args, "--json").stdout)
