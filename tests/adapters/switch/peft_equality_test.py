"""W(S) against PEFT: for one adapter at several scales the switched weights are those of merge_and_unload(), bit for bit, in fp32, bf16
and fp16, whatever was resident before; a sum of adapters is the same sum computed with torch in fp64."""

import pathlib
import subprocess
import tempfile

import torch
from peft import PeftModel, ShiraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from shira_testutil import tensor_sha256, binary

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_base(dtype: torch.dtype) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, tie_word_embeddings=True)
    return LlamaForCausalLM(config).to(dtype).eval()


def make_adapter(folder: pathlib.Path, seed: int, r: int, targets: list[str]) -> None:
    """A PEFT SHiRA adapter with random values, saved as PEFT saves it."""
    base = make_base(torch.float32)  # which seeds for itself
    torch.manual_seed(seed)
    config = ShiraConfig(r=r, target_modules=targets, random_seed=seed, init_weights=False)
    get_peft_model(base, config).save_pretrained(folder)


def merged(dtype: torch.dtype, folder: pathlib.Path, scale: float) -> dict[str, str]:
    model = PeftModel.from_pretrained(make_base(dtype), folder)
    for module in model.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("default", scale)
    return hashes(model.merge_and_unload())


def hashes(model: LlamaForCausalLM) -> dict[str, str]:
    return {name: tensor_sha256(parameter) for name, parameter in model.named_parameters()}


def summed(dtype: torch.dtype, terms: list[tuple[pathlib.Path, float]]) -> dict[str, str]:
    """The documented sum over several adapters, dense and in fp64 (exact enough for any order of these terms to round alike)."""
    model = make_base(dtype)
    deltas: dict[str, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = {}
    for folder, weight in terms:
        tensors = load_file(folder / "adapter_model.safetensors")
        for name, values in tensors.items():
            if not name.endswith(".shira_weight"):
                continue
            path = name.removeprefix("base_model.model.").removesuffix(".shira_weight")
            rows, cols = tensors[name.replace("shira_weight", "shira_indices")].long()
            dense = deltas.setdefault(path + ".weight", [])
            dense.append((rows, cols, (values * weight).double()))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in deltas:
                continue
            total = parameter.double()
            touched = torch.zeros_like(total, dtype=torch.bool)
            for rows, cols, values in deltas[name]:
                total[rows, cols] += values
                touched[rows, cols] = True
            parameter[touched] = total.float().to(dtype)[touched]
    return hashes(model)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        adapters = [root / "a", root / "b", root / "c"]
        make_adapter(adapters[0], seed=1, r=2, targets=TARGETS)
        make_adapter(adapters[1], seed=2, r=4, targets=["q_proj", "v_proj", "down_proj"])
        make_adapter(adapters[2], seed=3, r=1, targets=TARGETS)
        compared = 0
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            base = make_base(dtype)
            base_file = root / f"{dtype}.safetensors"
            save_file({name: parameter.detach().clone() for name, parameter in base.named_parameters()}, base_file)
            cases = [("base", hashes(base))]
            for folder in adapters:
                for scale in (1.0, 0.5, -1.3, 0.1):
                    cases.append((f"{folder}={scale}", merged(dtype, folder, scale)))
            terms = [(adapters[0], 0.5), (adapters[1], 0.25), (adapters[2], 2.0)]
            cases.append((",".join(f"{folder}={weight}" for folder, weight in terms), summed(dtype, terms)))
            cases.append(("base", hashes(base)))
            # There and back again: the second half comes from other states than the first.
            cases += cases[-2:0:-1] + cases[:1]
            output = subprocess.run([binary("print_switched_hashes"), base_file, *(state for state, _ in cases)],
                                    check=True, capture_output=True, text=True).stdout
            found: list[dict[str, str]] = [{} for _ in cases]
            for line in output.splitlines():
                number, name, digest = line.split()
                found[int(number)][name] = digest
            for (state, expected), actual in zip(cases, found):
                different = [name for name in expected if expected[name] != actual[name]]
                assert not different, f"{dtype}, {state}: {different} differ from PEFT"
                assert expected.keys() == actual.keys()
                compared += len(expected)
        print(f"{compared} parameter hashes equal")


main()
