"""shira-adapter from-lora: against PEFT's own LoRA."""

import json
import pathlib
import tempfile
import unittest

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from tool_testutil import TARGETS, dense_deltas, make_base, merged, save_base, tool, tool_json


class FromLoraTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = pathlib.Path(self.temporary.name)
        self.base = save_base(self.root / "base")

    def make_lora(self, name: str, seed: int = 1, dtype: torch.dtype = torch.float32, **options) -> pathlib.Path:
        torch.manual_seed(seed)
        options = {"r": 8, "lora_alpha": 12, "target_modules": TARGETS, "init_lora_weights": False} | options
        model = get_peft_model(make_base(), LoraConfig(**options))
        model.save_pretrained(self.root / name)
        if dtype != torch.float32:
            file = self.root / name / "adapter_model.safetensors"
            save_file({key: tensor.to(dtype) for key, tensor in load_file(file).items()}, file)
        return self.root / name

    def peft_deltas(self, lora: pathlib.Path) -> dict[str, torch.Tensor]:
        model = PeftModel.from_pretrained(make_base(), lora)
        return {f"{name.removeprefix('base_model.model.')}.weight": module.get_delta_weight("default").detach()
                for name, module in model.named_modules() if hasattr(module, "lora_A")}

    def test_at_full_density_it_is_pefts_merged_lora(self):
        # Square matrices of even size are the ones that PEFT's SHiRA can hold in full.
        square = ["q_proj", "o_proj"]
        for name, options in {"plain": {}, "rank stabilised": {"use_rslora": True}, "odd": {"r": 3, "lora_alpha": 7},
                              "bf16": {"dtype": torch.bfloat16},
                              "ranks": {"rank_pattern": {"q_proj": 2}}}.items():
            with self.subTest(name):
                lora = self.make_lora(name, target_modules=square, **options)
                out = self.root / (name + " out")
                report = tool_json("from-lora", lora, "--base", self.base, "--density", "1", "--out", out)
                self.assertEqual(report["energy_kept"], 1)
                deltas, expected = dense_deltas(out), self.peft_deltas(lora)
                self.assertEqual(deltas.keys(), expected.keys())
                for parameter, delta in expected.items():
                    # MKL adds over r in ascending order with fused multiply-add; another library may add in another order.
                    scale = delta.abs().max().item()
                    self.assertLessEqual((deltas[parameter] - delta).abs().max().item(), 4e-7 * scale, parameter)
                for dtype in (torch.float32, torch.bfloat16):
                    ours, theirs = merged(out, dtype), merged(lora, dtype)
                    different = sum((ours[n] != theirs[n]).sum().item() for n in ours)
                    print(f"{name}, {dtype}: {different} of {sum(p.numel() for p in ours.values())} weights differ from PEFT's")
                    if torch.backends.mkl.is_available() and dtype == torch.float32:
                        self.assertEqual(different, 0)

    def test_at_full_density_the_packed_file_holds_every_matrix(self):
        lora = self.make_lora("lora")
        report = tool_json("from-lora", lora, "--density", "1", "--out", self.root / "all.shira")
        self.assertEqual(report["entries"], sum(delta.count_nonzero().item() for delta in self.peft_deltas(lora).values()))
        expected = self.peft_deltas(lora)
        for parameter in tool_json("inspect", self.root / "all.shira")["parameters"]:
            self.assertAlmostEqual(parameter["norm"], expected[parameter["name"]].double().norm().item(), places=5)
            self.assertEqual(parameter["shape"], list(expected[parameter["name"]].shape))

    def test_takes_the_largest_elements_and_reports_what_is_lost(self):
        lora = self.make_lora("lora")
        report = tool_json("from-lora", lora, "--density", "0.02", "--out", self.root / "out")
        exact = self.root / "exact"
        tool("convert", self.root / "out", exact, "--model", self.base, "--drop-zeros")
        deltas = dense_deltas(exact)
        accounts = {account["name"]: account for account in report["parameters"]}
        kept = total = 0.0
        for parameter, delta in self.peft_deltas(lora).items():
            count = round(0.02 * delta.numel())
            order = torch.sort(delta.abs().flatten(), descending=True, stable=True).indices[:count]
            expected = torch.zeros(delta.numel())
            expected[order] = delta.flatten()[order]
            self.assertTrue(torch.allclose(deltas[parameter].flatten(), expected, rtol=0, atol=1e-6), parameter)
            self.assertEqual(accounts[parameter]["entries"], count)
            energy, energy_kept = delta.double().square().sum().item(), expected.double().square().sum().item()
            self.assertAlmostEqual(accounts[parameter]["energy_kept"], energy_kept / energy, places=6)
            kept, total = kept + energy_kept, total + energy
        self.assertAlmostEqual(report["energy_kept"], kept / total, places=6)

    def assert_refused(self, lora: pathlib.Path, text: str, *options) -> None:
        result = tool("from-lora", lora, "--density", "0.1", "--out", self.root / "out", *options, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(text, result.stderr)
        self.assertFalse((self.root / "out").exists())

    def test_refuses_what_would_give_another_delta(self):
        self.assert_refused(self.make_lora("dora", use_dora=True), "use_dora = true is not supported")
        self.assert_refused(self.make_lora("bias", lora_bias=True), "lora_bias = true is not supported")
        self.assert_refused(self.make_lora("alphas", alpha_pattern={"q_proj": 3}), "alpha_pattern")
        self.assert_refused(self.make_lora("head", modules_to_save=["lm_head"]), "modules_to_save")
        self.assert_refused(self.make_lora("embeddings", target_modules=["embed_tokens"]), "lora_embedding_A: left over")
        future = self.make_lora("future")
        config = json.loads((future / "adapter_config.json").read_text())
        (future / "adapter_config.json").write_text(json.dumps(config | {"invented_later": 1}))
        self.assert_refused(future, "invented_later = 1 is not supported")
        (future / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "pissa"}))
        self.assert_refused(future, 'init_lora_weights = "pissa" is not supported')
        (future / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
        self.assert_refused(future, 'expected LORA, found "IA3"')

    def test_refuses_shapes_and_names_that_the_base_does_not_have(self):
        lora = self.make_lora("lora", target_modules=["q_proj"])
        file = lora / "adapter_model.safetensors"
        tensors = load_file(file)
        broken = dict(tensors)
        broken["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(8, 63)
        save_file(broken, file)
        self.assert_refused(lora, "model.layers.0.self_attn.q_proj.weight: expected [64, 64], found [64, 63]", "--base", self.base)
        broken["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(7, 64)
        save_file(broken, file)
        self.assert_refused(lora, "expected lora_A [r, in] and lora_B [out, r]")
        save_file({key.replace("layers.1", "layers.9"): tensor for key, tensor in tensors.items()}, file)
        self.assert_refused(lora, "model.layers.9.self_attn.q_proj.weight: the base has no such matrix", "--base", self.base)
        del tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
        save_file(tensors, file)
        self.assert_refused(lora, "lora_A.weight: missing")


if __name__ == "__main__":
    unittest.main()
