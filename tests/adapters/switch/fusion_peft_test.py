"""Blends against PEFT's merge utilities and against plain torch: every rule, over adapters that overlap in part and over adapters with
equal index tables, bit for bit in fp32 after arithmetic in fp64."""

import hashlib
import pathlib
import struct
import subprocess
import tempfile
import unittest.mock
import warnings

import numpy
import torch
from peft import ShiraConfig, get_peft_model
from peft.utils import merge_utils
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from shira_testutil import binary

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SEED = 11
SHAPES: dict[str, torch.Size] = {}  # of the base's parameters; main() fills it


def make_base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                                        num_key_value_heads=2, tie_word_embeddings=True))


def make_adapter(folder: pathlib.Path, values: int, mask: int, r: int, targets: list[str]) -> None:
    base = make_base()
    torch.manual_seed(values)
    config = ShiraConfig(r=r, target_modules=targets, random_seed=mask, init_weights=False)
    get_peft_model(base, config).save_pretrained(folder)


def read_adapter(folder: pathlib.Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By parameter: ascending flat positions, and the deltas there in fp64."""
    tensors = load_file(folder / "adapter_model.safetensors")
    adapter = {}
    for name, values in tensors.items():
        if not name.endswith(".shira_weight"):
            continue
        path = name.removeprefix("base_model.model.").removesuffix(".shira_weight")
        rows, cols = tensors[name.replace("shira_weight", "shira_indices")].long()
        positions = rows * SHAPES[path + ".weight"][1] + cols
        order = positions.argsort()
        adapter[path + ".weight"] = positions[order], values[order].double()
    return adapter


def random_mask(digest: str, parameter: str, positions: torch.Tensor, density: float) -> torch.Tensor:
    """The documented choice of the random rules, written again with numpy."""
    key = struct.unpack("<Q", hashlib.sha256(struct.pack("<Q", SEED) + digest.encode() + parameter.encode()).digest()[:8])[0]
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(key) + (positions.numpy().astype(numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return torch.from_numpy((z >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53 < density)


def thinned(rule: str, density: float, digest: str, parameter: str, positions: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One operand's own entries, as PEFT thins them."""
    if rule in ("ties", "pruned"):
        return merge_utils.prune(values, density, method="magnitude")
    if rule in ("dare", "dare_ties"):
        mask = random_mask(digest, parameter, positions, density)
        with unittest.mock.patch.object(torch, "bernoulli", lambda input: mask.to(input.dtype)):
            return merge_utils.prune(values, density, method="random", rescale=True)
    return values


def combined(rule: str, operands: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    if rule in ("sum", "dare", "pruned"):
        return merge_utils.task_arithmetic(operands, weights)
    if rule in ("ties", "dare_ties"):
        return merge_utils.ties(operands, weights, density=1.0)
    weighted = torch.stack(operands) * weights[:, None]
    return weighted.gather(0, weighted.abs().argmax(dim=0, keepdim=True))[0]


def check(root: pathlib.Path, rule: str, density: float, parts: list[tuple[pathlib.Path, float]]) -> int:
    command: list[str | pathlib.Path] = [binary("blend_adapters"), root / "base.safetensors", rule, str(density), str(SEED)]
    output = subprocess.run([*command, root / "out.safetensors", *(f"{folder}={weight}" for folder, weight in parts)],
                            check=True, capture_output=True, text=True).stdout.splitlines()
    reversed_output = subprocess.run([*command, root / "reversed.safetensors", *(f"{folder}={weight}" for folder, weight in parts[::-1])],
                                     check=True, capture_output=True, text=True).stdout.splitlines()
    assert output[len(parts):] == reversed_output[len(parts):], "the order of the parts changes digest or report"
    assert (root / "out.safetensors").read_bytes() == (root / "reversed.safetensors").read_bytes(), "the order of the parts changes values"

    digests = dict(line.split()[::-1] for line in output[:len(parts)])
    report = {line.split()[0]: [float(number) for number in line.split()[1:]] for line in output[len(parts) + 1:]}
    found = load_file(root / "out.safetensors")
    # fp64 sums depend on the order: the documented one is that of the digests.
    parts = sorted(parts, key=lambda part: digests[str(part[0])])
    adapters = [read_adapter(folder) for folder, _ in parts]
    weights = torch.tensor([weight for _, weight in parts], dtype=torch.float64)
    totals = torch.zeros(6, dtype=torch.float64)
    for parameter in sorted(set().union(*adapters)):
        elements = SHAPES[parameter].numel()
        used = [i for i, adapter in enumerate(adapters) if parameter in adapter]
        dense, count, before = [], torch.zeros(elements), []
        for i in used:
            positions, values = adapters[i][parameter]
            count[positions] += 1
            before.append(torch.zeros(elements, dtype=torch.float64).index_put((positions,), values * weights[i]))
            kept = thinned(rule, density, digests[str(parts[i][0])], parameter, positions, values)
            dense.append(torch.zeros(elements, dtype=torch.float64).index_put((positions,), kept))
        expected = combined(rule, dense, weights[used]).float()
        if rule in ("ties", "pruned") and all(torch.equal(adapters[i][parameter][0], adapters[used[0]][parameter][0]) for i in used):
            # Equal tables: PEFT's own function with its own density, over the compact operands.
            compact = [adapters[i][parameter][1] for i in used]
            whole = {"ties": merge_utils.ties, "pruned": merge_utils.magnitude_prune}[rule](compact, weights[used], density)
            assert torch.equal(whole.float(), expected[adapters[used[0]][parameter][0]])

        positions = (count > 0).nonzero()[:, 0] if rule in ("sum", "max") else expected.nonzero()[:, 0]
        assert torch.equal(found.get(f"{parameter}.positions", torch.zeros(0, dtype=torch.int64)), positions), f"{rule}: {parameter}: positions"
        if len(positions):
            assert torch.equal(found[f"{parameter}.values"], expected[positions]), f"{rule}: {parameter}: values"
        signs = torch.stack(before).sign()
        conflicts = ((signs > 0).any(dim=0) & (signs < 0).any(dim=0)).sum()
        energies = expected.double().square().sum(), torch.stack(before).square().sum()
        row = torch.tensor([(count > 0).sum(), (count > 1).sum(), conflicts, len(positions), *energies], dtype=torch.float64)
        totals += row
        assert report[parameter][:4] == row[:4].tolist(), f"{rule}: {parameter}: report {report[parameter]}, expected {row}"
        torch.testing.assert_close(report[parameter][4], (row[4] / row[5]).item(), rtol=1e-9, atol=0)
    assert report["total"][:4] == totals[:4].tolist()
    torch.testing.assert_close(report["total"][4], (totals[4] / totals[5]).item(), rtol=1e-9, atol=0)
    return len(report) - 1


def check_statistics(root: pathlib.Path, folder: pathlib.Path, density: float) -> None:
    """The random rules keep `density` of the entries (5 standard deviations), and other ones with another adapter."""
    kept = torch.cat([random_mask(digest, parameter, positions, density) for digest in ("a" * 64, "b" * 64)
                      for parameter, (positions, _) in read_adapter(folder).items()])
    deviation = (density * (1 - density) / len(kept)) ** 0.5
    assert abs(kept.double().mean() - density) < 5 * deviation
    first, second = kept.chunk(2)
    both = (first & second).double().mean()
    assert abs(both - density**2) < 5 * (density**2 * (1 - density**2) / len(first)) ** 0.5


def main() -> None:
    warnings.filterwarnings("ignore", message="The density")
    SHAPES.update({name: parameter.shape for name, parameter in make_base().named_parameters()})
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        save_file({name: parameter.detach().clone() for name, parameter in make_base().named_parameters()}, root / "base.safetensors")
        folders = {name: root / name for name in "abcd"}
        make_adapter(folders["a"], values=1, mask=1, r=4, targets=TARGETS)
        make_adapter(folders["b"], values=2, mask=2, r=6, targets=["q_proj", "v_proj", "down_proj"])
        make_adapter(folders["c"], values=3, mask=3, r=8, targets=TARGETS)
        make_adapter(folders["d"], values=4, mask=1, r=4, targets=TARGETS)  # the index tables of a
        a, b, c, d = folders.values()
        compared = 0
        for parts in ([(a, 0.5), (b, -0.25), (c, 2.0)], [(a, 0.7), (d, 0.3)], [(a, 1.0), (b, 1.0), (c, 1.0), (d, 0.0)], [(c, 0.5)]):
            for rule in ("sum", "ties", "dare", "dare_ties", "max", "pruned"):
                for density in (1.0, 0.5, 0.17) if rule not in ("sum", "max") else (1.0,):
                    compared += check(root, rule, density, parts)
        check_statistics(root, c, 0.3)
        print(f"{compared} parameters equal")


main()
