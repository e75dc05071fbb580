"""shira-adapter extract: against the same selection made with torch, and applied by PEFT."""

import pathlib
import tempfile
import unittest

import torch

from tool_testutil import (TARGETS, dense_deltas, make_base, make_shira, merged, same_bits, save_base, tool, tool_json,
                           weights)


def selected(difference: torch.Tensor, count: int) -> torch.Tensor:
    """Positions of the largest magnitudes; a stable sort takes the first of equal ones."""
    order = torch.sort(difference.abs().flatten(), descending=True, stable=True).indices[:count]
    return order[difference.flatten()[order] != 0].sort().values


class ExtractTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = pathlib.Path(self.temporary.name)

    def save_tuned(self, dtype: torch.dtype, change, **options) -> tuple[pathlib.Path, dict[str, torch.Tensor]]:
        model = make_base(dtype)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                change(name, parameter)
        model.save_pretrained(self.root / "tuned", **options)
        return self.root / "tuned", weights(model)

    def test_takes_the_largest_differences_and_the_first_of_equal_ones(self):
        generator = torch.Generator().manual_seed(3)

        def change(name, parameter):
            # Few different steps, so that most magnitudes are tied.
            step = torch.randint(-3, 4, parameter.shape, generator=generator) * 2.0 ** -12
            parameter.copy_(torch.round(parameter * 2 ** 12) / 2 ** 12 + step)

        tuned, after = self.save_tuned(torch.float32, change, max_shard_size="100KB")
        self.assertTrue((tuned / "model.safetensors.index.json").exists(), "not sharded")
        base = save_base(self.root / "base")
        before = weights(make_base())
        report = tool_json("extract", "--base", base, "--tuned", tuned, "--density", "0.03", "--out", self.root / "out")
        tool("convert", self.root / "out", self.root / "exact", "--model", base, "--drop-zeros")
        deltas = dense_deltas(self.root / "exact")
        linear = [name for name in before if name.endswith("_proj.weight")]
        self.assertEqual(sorted(deltas), sorted(linear))
        self.assertEqual([p["name"] for p in report["parameters"]], linear)
        kept = total = 0.0
        for name, account in zip(linear, report["parameters"]):
            difference = after[name] - before[name]
            positions = selected(difference, round(0.03 * difference.numel()))
            expected = torch.zeros(difference.numel())
            expected[positions] = difference.flatten()[positions]
            self.assertTrue(torch.equal(deltas[name].flatten(), expected), name)
            energy, energy_kept = difference.double().square().sum().item(), expected.double().square().sum().item()
            self.assertAlmostEqual(account["energy_kept"], energy_kept / energy, places=9)
            kept, total = kept + energy_kept, total + energy
        self.assertAlmostEqual(report["energy_kept"], kept / total, places=9)
        others = [name for name in before if name not in linear]
        self.assertEqual(report["left_out"]["parameters"], [n for n in others if not torch.equal(after[n], before[n])])

    def test_an_adapter_fused_in_fp32_comes_back(self):
        adapter = make_shira(self.root / "a", seed=7, r=2, targets=TARGETS)
        after = merged(adapter)
        tuned, _ = self.save_tuned(torch.float32, lambda name, parameter: parameter.copy_(after[name]))
        base = save_base(self.root / "base")
        tool("extract", "--base", base, "--tuned", tuned, "--density", "0.2", "--out", self.root / "out")
        found, original = dense_deltas(self.root / "out"), dense_deltas(adapter)
        for name, delta in original.items():
            # Where the sum was rounded away there is no difference to find; elsewhere the difference is off by that rounding.
            self.assertTrue(torch.all((found[name] != 0) <= (delta != 0)), name)
            bound = torch.finfo(torch.float32).eps * after[name].abs()
            self.assertTrue(torch.all((found[name] - delta).abs() <= bound), name)
        again = merged(self.root / "out")
        for name, parameter in after.items():
            self.assertTrue(same_bits(again[name], parameter), f"{name} is not the fused weight")

    def test_bf16_checkpoints_are_met_exactly_where_entries_are_kept(self):
        generator = torch.Generator().manual_seed(8)
        tuned, after = self.save_tuned(torch.bfloat16, lambda name, parameter: parameter.add_(
            torch.randn(parameter.shape, generator=generator).to(torch.bfloat16) * 0.01))
        base = save_base(self.root / "base", torch.bfloat16)
        tool("extract", "--base", base, "--tuned", tuned, "--density", "0.05", "--out", self.root / "out")
        deltas, result, before = dense_deltas(self.root / "out"), merged(self.root / "out", torch.bfloat16), weights(
            make_base(torch.bfloat16))
        for name, delta in deltas.items():
            expected = torch.where(delta != 0, after[name], before[name])
            self.assertTrue(same_bits(result[name], expected), name)

    def test_include_selects_by_name(self):
        tuned, _ = self.save_tuned(torch.float32, lambda name, parameter: parameter.add_(0.5))
        base = save_base(self.root / "base")
        report = tool_json("extract", "--base", base, "--tuned", tuned, "--density", "0.01", "--include", r"\.1\..*[qv]_proj")
        self.assertEqual([p["name"] for p in report["parameters"]],
                         ["model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.v_proj.weight"])
        self.assertEqual(sorted(p.name for p in self.root.iterdir()), ["base", "tuned"])

    def test_refuses_models_that_are_not_the_same_and_differences_that_are_none(self):
        base = save_base(self.root / "base")
        model = make_base()
        model.resize_token_embeddings(130)
        model.save_pretrained(self.root / "larger")
        common = ("extract", "--density", "0.01", "--out", self.root / "out", "--base", base)
        result = tool(*common, "--tuned", self.root / "larger", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("model.embed_tokens.weight: another shape", result.stderr)
        result = tool(*common, "--tuned", base, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no selected parameter changes", result.stderr)
        result = tool(*common, "--tuned", base, "--include", "(", check=False)
        self.assertIn("no regular expression", result.stderr)
        result = tool(*common, "--tuned", base, "--include", "none_such", check=False)
        self.assertIn("matches no matrix", result.stderr)
        tuned, _ = self.save_tuned(torch.float32, lambda name, parameter: parameter.fill_(float("nan")))
        result = tool(*common, "--tuned", tuned, check=False)
        self.assertIn("row 0, column 0: expected a finite number", result.stderr)
        self.assertFalse((self.root / "out").exists())


if __name__ == "__main__":
    unittest.main()
