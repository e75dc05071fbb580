"""gpt-oss with experts in MXFP4, in folders as the hub has them and in GGUF files, against transformers, which dequantizes folders
where there is no GPU, against the Python package gguf, and against PEFT."""

import json
import pathlib
import tempfile
import unittest

import decoder_transformers_test as oracle  # first: it sets the environment of what follows
import families_transformers_test as families
import gguf
import numpy as np
import torch
from peft import PeftModel, ShiraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from shira_testutil import make_tiny_model, tensor_sha256

EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
SIZES = {"num_hidden_layers": 3, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 20, "intermediate_size": 96}
MXFP4 = gguf.GGMLQuantizationType.MXFP4


def hashes_of(model) -> dict[str, str]:
    """Of what is in memory: saving a model that was loaded from MXFP4 would go through its quantization again."""
    return {name: tensor_sha256(values.to(model.dtype)) for fused, parameter in model.named_parameters()
            for name, values in families.by_expert(fused, parameter.detach())}


def quantise_folder(folder: pathlib.Path) -> None:
    """Random experts of MXFP4 in the place of those that are there, about as large."""
    rng = np.random.default_rng(1)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if name.endswith(EXPERTS)]:
        experts, ins, outs = tensors.pop(name).shape
        scales = (experts, outs, ins // 32)
        tensors[f"{name}_blocks"] = torch.from_numpy(rng.integers(0, 256, (*scales, 16), np.uint8))
        tensors[f"{name}_scales"] = torch.from_numpy(rng.integers(119, 123, scales, np.uint8))
    save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    (folder / "config.json").write_text(json.dumps(config))


class Mxfp4Test(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = make_tiny_model(self.folder, "gpt_oss", **SIZES)

    def test_a_folder_has_transformers_weights_logits_and_merges(self):
        plain = hashes_of(self.model)
        quantise_folder(self.folder)
        for dtype in oracle.DTYPES:
            with self.subTest(dtype):
                model = oracle.load(self.folder, dtype)
                expected = hashes_of(model)
                if dtype == "F32":
                    changed = {name for name in expected if expected[name] != plain[name]}
                    self.assertEqual(changed, {name for name in expected if ".experts." in name and name.endswith(".weight")})
                self.assertEqual(families.printed_hashes("print_weight_hashes", self.folder, dtype), expected)
                for device in (None, "cpu"):
                    difference = oracle.largest_difference(
                        model, self.folder, dtype, families.prompts_for(model, dtype), prefill=7, device=device)
                    print(f"MXFP4, {dtype}, {device or 'our kernels'}: largest difference {difference:.2g}")
                    self.assertLess(difference, oracle.TINY_TOLERANCE[dtype])

    def test_shira_on_attention_equals_pefts_merge(self):
        quantise_folder(self.folder)
        torch.manual_seed(1)
        config = ShiraConfig(r=2, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], random_seed=1, init_weights=False)
        get_peft_model(oracle.load(self.folder, "F32"), config).save_pretrained(self.folder / "adapter")
        for dtype in oracle.DTYPES:
            merged = PeftModel.from_pretrained(oracle.load(self.folder, dtype), self.folder / "adapter").merge_and_unload()
            found = families.printed_hashes("print_adapted_hashes", self.folder, dtype, self.folder / "adapter")
            self.assertEqual(found, hashes_of(merged), dtype)
            self.assertNotEqual(found, hashes_of(oracle.load(self.folder, dtype)), dtype)

    def test_a_gguf_file_holds_what_it_was_made_from(self):
        with torch.no_grad():  # numbers that MXFP4 has
            for name, parameter in self.model.named_parameters():
                if name.endswith(EXPERTS):
                    rows = parameter.transpose(1, 2).contiguous().numpy()
                    quantised = gguf.dequantize(gguf.quantize(rows, MXFP4), MXFP4)
                    parameter.copy_(torch.from_numpy(quantised).transpose(1, 2))
        path = self.folder / "tiny.gguf"
        families.write_gguf(self.model, path, experts=MXFP4)
        types = {tensor.name: tensor.tensor_type for tensor in gguf.GGUFReader(path).tensors}
        self.assertEqual({types[f"blk.2.ffn_{part}_exps.weight"] for part in ("gate", "up", "down")}, {MXFP4})
        self.assertEqual(families.printed_hashes("print_weight_hashes", path, "F32"), hashes_of(self.model))
        difference = oracle.largest_difference(self.model, path, "F32", families.prompts(), prefill=7)
        self.assertLess(difference, oracle.TINY_TOLERANCE["F32"])


if __name__ == "__main__":
    unittest.main()
