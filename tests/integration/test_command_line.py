"""Wrong flags and files: one clear line, a non-zero exit code, at once."""

import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import shira_testutil
from safetensors.torch import load_file, save_file

from fixtures import world


class CommandLineTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.model = world().model

    def refuse(self, code, *flags, says):
        start = time.monotonic()
        result = subprocess.run([shira_testutil.binary("shira-server"), *map(str, flags)], capture_output=True,
                                text=True, timeout=60)
        # A hang would be seen, a busy machine is not.
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        lines = [line for line in result.stderr.splitlines() if line]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertIn(says, lines[0])

    def test_wrong_usage_ends_with_2(self):
        model = ("--model", self.model)
        self.refuse(2, says="--model")
        self.refuse(2, *model, "--no-such-flag", says="--no-such-flag")
        self.refuse(2, *model, "--dtype", "int8", says="--dtype")
        self.refuse(2, *model, "--listen", "nonsense", says="HOST:PORT")
        self.refuse(2, *model, "--listen", "127.0.0.1:70000", says="HOST:PORT")
        self.refuse(2, *model, "--listen", "0.0.0.0:0", says="--insecure-listen-anywhere")
        self.refuse(2, *model, "--listen", "[::]:0", says="--insecure-listen-anywhere")
        self.refuse(2, *model, "--adapter", "nopath", says="NAME=PATH")
        self.refuse(2, *model, "--adapter", "base=/tmp", says="base")
        self.refuse(2, *model, "--adapter", "a=/x", "--adapter", "a=/y", says="twice")
        self.refuse(2, *model, "--threads", "-1", says="--threads")
        self.refuse(2, *model, "--max-tokens", "0", says="--max-tokens")
        self.refuse(2, *model, "--kv-cache-mb", "0", says="--kv-cache-mb")
        self.refuse(2, *model, "--drain-timeout", "-1", says="--drain-timeout")
        self.refuse(2, *model, "--drain-delay", "-1", says="--drain-delay")

    def test_wrong_files_end_with_1(self):
        self.refuse(1, "--model", self.folder / "nothing", says="does not exist")
        self.refuse(1, "--model", self.folder, says="config.json")
        model = ("--model", self.model, "--listen", "127.0.0.1:0")
        self.refuse(1, *model, "--adapter-root", self.folder / "nothing", says="adapter root")
        self.refuse(1, *model, "--adapter", f"a={self.folder / 'nothing'}", says="adapter a")
        self.refuse(1, *model, "--port-file", self.folder / "nothing" / "port", says="port file")
        (self.folder / "bad.gguf").write_bytes(b"GGUF nonsense")
        self.refuse(1, "--model", self.folder / "bad.gguf", says="bad.gguf")

    def test_malformed_model_folders_end_with_1(self):
        for name, content, says in (
            ("config.json", b"{", "config.json"),
            ("config.json", b'{"model_type": "mamba"}', "mamba"),
            ("tokenizer.json", b"[]", "tokenizer.json"),
            ("model.safetensors", b"\xff" * 100, "model.safetensors"),
        ):
            copy = self.folder / "copy"
            shutil.copytree(self.model, copy, ignore=shutil.ignore_patterns("socket"))
            (copy / name).write_bytes(content)
            self.refuse(1, "--model", copy, "--listen", "127.0.0.1:0", says=says)
            shutil.rmtree(copy)

    def test_weights_that_are_not_finite_end_with_1(self):
        copy = self.folder / "copy"
        shutil.copytree(self.model, copy, ignore=shutil.ignore_patterns("socket"))
        name = "model.layers.0.mlp.down_proj.weight"
        for value, dtype, says in ((float("nan"), "float32", "found nan"), (1e5, "float16", "found 100000, which overflows F16")):
            tensors = load_file(self.model / "model.safetensors")
            tensors[name][3, 5] = value
            save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
            # Lines of the log come before the error.
            result = shira_testutil.run_binary("shira-server", "--model", copy, "--dtype", dtype, "--listen", "127.0.0.1:0", check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"tensor '{name}', row 3, column 5: expected a finite number, {says}", result.stderr.splitlines()[-1])

    def test_an_adapter_that_cannot_be_loaded_ends_with_1(self):
        # Its lines of the log come before the error.
        result = shira_testutil.run_binary("shira-server", *world().flags(), "--listen", "127.0.0.1:0", "--adapter",
                                           f"a={world().broken / 'nan'}", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("shira-server: adapter a: ", result.stderr.splitlines()[-1])

    def test_help_and_version_are_complete(self):
        text = shira_testutil.run_binary("shira-server", "--help").stdout
        for flag in ("model", "dtype", "listen", "adapter-root", "adapter", "threads", "port-file", "base-model",
                     "max-queued", "max-running", "kv-cache-mb", "adapter-memory-mb", "max-message-mb", "max-tokens",
                     "drain-timeout", "drain-delay", "log-level", "insecure-listen-anywhere", "config", "version"):
            self.assertIn(f"--{flag}", text)
        self.assertRegex(shira_testutil.run_binary("shira-server", "--version").stdout, r"^shira-server \d+\.\d+\.\d+")

    def test_flags_can_come_from_a_file(self):
        config = self.folder / "flags.ini"
        config.write_text("dtype = int8\n")
        self.refuse(2, "--model", self.model, "--config", config, says="dtype")
