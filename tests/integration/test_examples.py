"""examples/: what is trained for a folder is an adapter of that model."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from fixtures import select, world

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


class TrainingTest(unittest.TestCase):
    def test_any_folder_can_be_trained_for_and_is_named(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        pairs = root / "pairs.jsonl"
        pairs.write_text('{"question": "Who?", "answer": "A pirate."}\n{"question": "Where?", "answer": "On a ship."}\n')
        result = subprocess.run(
            [sys.executable, "-B", EXAMPLES / "train_demo_adapters.py", "--model", world().model, "--base-model", "some-org/tiny-llama",
             "--name", "mine", "--data", pairs, "--out", root / "adapters", "--r", "4", "--epochs", "1", "--threads", "1"],
            capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        # r * (in + out) of in * out: 4 * (64 + 128) of 64 * 128.
        self.assertRegex(result.stdout, r"down_proj +64 +128 +768 +9\.38%")
        config = json.loads((root / "adapters/mine/adapter_config.json").read_text())
        self.assertEqual(config["base_model_name_or_path"], "some-org/tiny-llama")
        self.assertEqual(len(config["target_modules"]), 7)
        with world().server("--adapter-root", root / "adapters", "--base-model", "some-org/tiny-llama", adapters=()) as (_, client):
            client.admin.LoadAdapter(name="mine", path="mine")
            self.assertTrue(client.inference.Generate(prompt="Who?", adapter=select("mine"), stop={"max_tokens": 2}).token_ids)
