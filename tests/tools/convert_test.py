"""shira-adapter convert: PEFT loads what it writes, and merges it to the same bits."""

import json
import pathlib
import tempfile
import unittest

import torch
from safetensors.torch import load_file, save_file

from tool_testutil import TARGETS, dense_deltas, make_base, make_shira, merged, same_bits, save_base, tool, tool_json


class ConvertTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = pathlib.Path(self.temporary.name)
        self.base = save_base(self.root / "base")

    def assert_same_merge(self, a: pathlib.Path, b: pathlib.Path) -> None:
        for dtype in (torch.float32, torch.bfloat16):
            ours, theirs = merged(a, dtype), merged(b, dtype)
            self.assertEqual(ours.keys(), theirs.keys())
            for name in ours:
                self.assertTrue(same_bits(ours[name], theirs[name]), f"{name} in {dtype}")

    def make_uneven(self) -> pathlib.Path:
        """An adapter in PEFT's layout that PEFT itself refuses: the numbers of entries are arbitrary, and values make a -0.0."""
        torch.manual_seed(4)
        tensors = {}
        for path, rows, cols, count in (("model.layers.0.self_attn.q_proj", 64, 64, 1), ("model.layers.0.mlp.up_proj", 160, 64, 300),
                                        ("model.layers.1.self_attn.k_proj", 32, 64, 97)):
            flat = torch.randperm(rows * cols)[:count]
            tensors[f"base_model.model.{path}.shira_weight"] = torch.randn(count)
            tensors[f"base_model.model.{path}.shira_indices"] = torch.stack([flat // cols, flat % cols]).to(torch.int32)
        folder = self.root / "uneven"
        folder.mkdir()
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "SHIRA", "base_model_name_or_path": "x"}))
        return folder

    def test_what_peft_wrote_comes_back_with_its_tensors_and_its_r(self):
        adapter = make_shira(self.root / "a", seed=1, r=3, targets=TARGETS)
        copy = self.root / "copy"
        tool("convert", adapter, copy, "--model", self.base)
        original, written = load_file(adapter / "adapter_model.safetensors"), load_file(copy / "adapter_model.safetensors")
        self.assertEqual(original.keys(), written.keys())
        for name in original:
            self.assertTrue(same_bits(original[name], written[name]), name)
        self.assertEqual(json.loads((copy / "adapter_config.json").read_text())["r"], 3)
        self.assert_same_merge(copy, adapter)

    def test_peft_loads_any_number_of_entries_because_the_rest_is_filled_up_without_effect(self):
        uneven = self.make_uneven()
        with self.assertRaises(Exception):
            merged(uneven)
        filled = self.root / "filled"
        tool("convert", uneven, filled, "--model", self.base)
        deltas = dense_deltas(uneven)
        for dtype in (torch.float32, torch.bfloat16):
            result = merged(filled, dtype)
            for name, parameter in make_base(dtype).named_parameters():
                expected = parameter.detach().clone()
                if name in deltas:
                    touched = deltas[name] != 0
                    expected[touched] = (expected.float() + deltas[name])[touched].to(dtype)
                self.assertTrue(same_bits(result[name], expected), f"{name} in {dtype}")
        # The way back: without the filling it is the adapter that it was.
        back = self.root / "back"
        report = tool_json("convert", filled, back, "--model", self.base, "--drop-zeros")
        self.assertEqual(report["entries"], 1 + 300 + 97)
        self.assertEqual(tool_json("diff", uneven, back)["total"]["equal"], 1 + 300 + 97)

    def test_filling_keeps_the_sign_of_zero_weights(self):
        filled = self.root / "filled"
        tool("convert", self.make_uneven(), filled, "--model", self.base)
        for name, values in load_file(filled / "adapter_model.safetensors").items():
            if name.endswith("shira_weight"):
                self.assertTrue(torch.all(torch.signbit(values[values == 0])), name)

    def test_bf16_values_are_rounded_to_nearest_even(self):
        adapter = make_shira(self.root / "a", seed=2, r=1, targets=["q_proj"])
        small = self.root / "small"
        tool("convert", adapter, small, "--model", self.base, "--values", "bf16")
        original, written = load_file(adapter / "adapter_model.safetensors"), load_file(small / "adapter_model.safetensors")
        for name, values in original.items():
            expected = values.to(torch.bfloat16) if name.endswith("shira_weight") else values
            self.assertTrue(same_bits(written[name], expected), name)
        merged(small)

    def test_what_peft_cannot_hold_is_refused_with_the_reason(self):
        # Half of up_proj needs r = 23, which is more than all of k_proj.
        torch.manual_seed(5)
        tensors = {}
        for path, rows, cols, count in (("model.layers.0.mlp.up_proj", 160, 64, 5120), ("model.layers.1.self_attn.k_proj", 32, 64, 1)):
            flat = torch.randperm(rows * cols)[:count]
            tensors[f"base_model.model.{path}.shira_weight"] = torch.ones(count)
            tensors[f"base_model.model.{path}.shira_indices"] = torch.stack([flat // cols, flat % cols]).to(torch.int32)
        folder = self.root / "dense"
        folder.mkdir()
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text('{"peft_type": "SHIRA"}')
        result = tool("convert", folder, self.root / "out", "--model", self.base, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("model.layers.1.self_attn.k_proj.weight [32, 64]: r = 23 would give it 2208 entries", result.stderr)
        self.assertFalse((self.root / "out").exists())

    def test_through_the_packed_file_and_back_to_peft_all_tensors_are_equal(self):
        adapter = make_shira(self.root / "a", seed=1, r=3, targets=TARGETS)
        packed, back = self.root / "a.shira", self.root / "back"
        self.assertEqual(tool_json("convert", adapter, packed, "--model", self.base)["to"], "packed")
        self.assertLess(packed.stat().st_size, (adapter / "adapter_model.safetensors").stat().st_size / 2)
        # The packed file has the shapes, so no model is needed.
        self.assertEqual(tool_json("convert", packed, back)["to"], "peft")
        original, written = load_file(adapter / "adapter_model.safetensors"), load_file(back / "adapter_model.safetensors")
        self.assertEqual(original.keys(), written.keys())
        for name in original:
            self.assertTrue(same_bits(original[name], written[name]), name)
        self.assert_same_merge(back, adapter)
        self.assertIn("density", tool_json("inspect", packed))
        total = tool_json("diff", adapter, packed)["total"]
        self.assertEqual(total["equal"], total["entries_a"])

    def test_bf16_in_the_packed_file_is_the_bf16_of_torch(self):
        adapter = make_shira(self.root / "a", seed=1, r=3, targets=TARGETS)
        tool("convert", adapter, self.root / "a.shira", "--model", self.base, "--values", "bf16")
        tool("convert", self.root / "a.shira", self.root / "back")
        original, written = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, self.root / "back"))
        for name, values in original.items():
            expected = values.to(torch.bfloat16).float() if name.endswith("shira_weight") else values
            self.assertTrue(same_bits(written[name], expected), name)

    def test_values_that_replace_weights_are_refused_for_peft_and_kept_in_the_packed_file(self):
        patch = self.root / "patch.safetensors"
        save_file({"model.layers.0.self_attn.q_proj.weight.indices": torch.tensor([5, 70], dtype=torch.int32),
                   "model.layers.0.self_attn.q_proj.weight.values": torch.tensor([0.0, 2.0])}, patch)
        result = tool("convert", patch, self.root / "out", "--model", self.base, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("take the place of weights", result.stderr)
        self.assertFalse((self.root / "out").exists())
        report = tool_json("convert", patch, self.root / "p.shira", "--model", self.base, "--drop-zeros")
        self.assertEqual(report["entries"], 2)
        self.assertEqual(tool_json("inspect", self.root / "p.shira")["replacements"], 2)
        self.assertIn("the model is needed", tool("inspect", patch, check=False).stderr)

    def test_a_format_without_shapes_is_not_written_without_the_model(self):
        adapter = make_shira(self.root / "a", seed=1, r=1, targets=["q_proj"])
        result = tool("convert", adapter, self.root / "out", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("give its model with --model", result.stderr)
        self.assertFalse((self.root / "out").exists())


if __name__ == "__main__":
    unittest.main()
