"""shira-adapter diff, inspect and verify: against numpy, and against files that are broken on purpose."""

import pathlib
import shutil
import tempfile
import unittest
import xml.dom.minidom

import numpy
import torch
from safetensors.torch import load_file, save_file

from tool_testutil import TARGETS, dense_deltas, make_shira, save_base, tool, tool_json


class DiffTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = pathlib.Path(self.temporary.name)
        self.a = make_shira(self.root / "a", seed=1, r=6, targets=TARGETS)

    def expected(self, a: numpy.ndarray, b: numpy.ndarray) -> dict:
        both = (a != 0) & (b != 0)
        norms = numpy.linalg.norm(a) * numpy.linalg.norm(b)
        return {"entries_a": int((a != 0).sum()), "entries_b": int((b != 0).sum()), "common": int(both.sum()),
                "jaccard": both.sum() / ((a != 0) | (b != 0)).sum(), "equal": int((both & (a == b)).sum()),
                "sign_conflicts": int((both & (numpy.sign(a) != numpy.sign(b))).sum()),
                "cosine": (a * b).sum() / norms if norms else 0}

    def assert_equal(self, found: dict, expected: dict) -> None:
        for key, value in expected.items():
            self.assertAlmostEqual(found[key], value, places=9, msg=f"{found.get('name')}: {key}")

    def test_counts_are_those_of_numpy(self):
        b = make_shira(self.root / "b", seed=2, r=4, targets=["q_proj", "up_proj"])
        # Some entries in common and equal.
        file = b / "adapter_model.safetensors"
        tensors, others = load_file(file), load_file(self.a / "adapter_model.safetensors")
        key = "base_model.model.model.layers.0.self_attn.q_proj.shira_"
        tensors[key + "weight"], tensors[key + "indices"] = others[key + "weight"].clone(), others[key + "indices"].clone()
        tensors[key + "weight"][::3] *= -2
        save_file(tensors, file)

        found = tool_json("diff", self.a, b)
        deltas_a, deltas_b = dense_deltas(self.a), dense_deltas(b)
        flat_a, flat_b = [], []
        self.assertEqual([p["name"] for p in found["parameters"]], sorted(deltas_a))
        for parameter in found["parameters"]:
            dense_a = deltas_a[parameter["name"]].double().numpy()
            dense_b = deltas_b[parameter["name"]].double().numpy() if parameter["name"] in deltas_b else numpy.zeros_like(dense_a)
            self.assert_equal(parameter, self.expected(dense_a, dense_b))
            flat_a.append(dense_a.flatten())
            flat_b.append(dense_b.flatten())
        self.assert_equal(found["total"], self.expected(numpy.concatenate(flat_a), numpy.concatenate(flat_b)))
        self.assertEqual(found, tool_json("diff", self.a, b, "--model", save_base(self.root / "base")))
        self.assertIn("SIGN CONFLICTS", tool("diff", self.a, b, "--all").stdout)

    def test_inspect_gives_numpys_norms_and_densities_with_the_model_only(self):
        base = save_base(self.root / "base")
        without, found = tool_json("inspect", self.a), tool_json("inspect", self.a, "--model", base)
        self.assertNotIn("density", without)
        self.assertEqual(without["norm"], found["norm"])
        elements = entries = squares = 0
        for parameter in found["parameters"]:
            dense = dense_deltas(self.a)[parameter["name"]].double().numpy()
            self.assertEqual(parameter["shape"], list(dense.shape))
            self.assertEqual(parameter["entries"], (dense != 0).sum())
            self.assertAlmostEqual(parameter["density"], (dense != 0).sum() / dense.size)
            self.assertAlmostEqual(parameter["norm"], numpy.linalg.norm(dense))
            self.assertAlmostEqual(parameter["largest"], numpy.abs(dense).max())
            elements, entries, squares = elements + dense.size, entries + (dense != 0).sum(), squares + (dense ** 2).sum()
        self.assertAlmostEqual(found["density"], entries / elements)
        self.assertAlmostEqual(found["norm"], squares ** 0.5)

    def test_inspect_draws_one_cell_per_layer_and_part(self):
        svg = self.root / "norms.svg"
        output = tool("inspect", self.a, "--svg", svg).stdout
        self.assertIn("█", output)
        picture = xml.dom.minidom.parse(str(svg))
        self.assertEqual(len(picture.getElementsByTagName("title")), 2 * len(TARGETS))
        self.assertEqual(tool("inspect", self.a, "--svg", svg, check=False).returncode, 1)
        tool("inspect", self.a, "--svg", svg, "--force")

    def test_verify_lists_every_problem_and_says_so_in_the_status(self):
        base = save_base(self.root / "base")
        self.assertTrue(tool_json("verify", self.a, "--model", base)["fits"])
        broken = self.root / "broken"
        shutil.copytree(self.a, broken)
        tensors = load_file(broken / "adapter_model.safetensors")
        tensors["base_model.model.model.layers.0.self_attn.q_proj.shira_indices"][0, 5] = 64
        tensors["base_model.model.model.layers.1.mlp.up_proj.shira_weight"][3] = float("inf")
        tensors["base_model.model.model.layers.7.mlp.up_proj.shira_weight"] = torch.ones(2)
        tensors["base_model.model.model.layers.7.mlp.up_proj.shira_indices"] = torch.ones(2, 2, dtype=torch.int32)
        save_file(tensors, broken / "adapter_model.safetensors")
        result = tool("verify", broken, "--model", base, check=False)
        self.assertEqual(result.returncode, 4)
        for problem in ("model.layers.0.self_attn.q_proj.weight: index 5", "model.layers.1.mlp.up_proj.weight: value 3",
                        "model.layers.7.mlp.up_proj.weight: the model has no such matrix"):
            self.assertIn(problem, result.stdout)
        self.assertEqual(tool("verify", self.root / "none", "--model", base, check=False).returncode, 1)
        self.assertEqual(tool("verify", self.a, "--model", self.root / "none", check=False).returncode, 1)


if __name__ == "__main__":
    unittest.main()
