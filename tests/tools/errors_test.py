"""shira-adapter with bad input: one clear line, a status that is not 0, and nothing half-written."""

import json
import os
import pathlib
import pty
import resource
import signal
import subprocess
import tempfile
import unittest

import torch

from shira_testutil import binary
from terminals import has_terminals
from tool_testutil import TARGETS, make_base, make_shira, save_base, tool


def names_below(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class ErrorsTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = pathlib.Path(self.temporary.name)
        self.adapter = make_shira(self.root / "a", seed=1, r=8, targets=TARGETS)
        self.base = save_base(self.root / "base")
        self.before = names_below(self.root)

    def assert_fails(self, *args, status: int = 1, text: str) -> None:
        result = tool(*args, check=False)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertIn(text, result.stderr)
        if status == 1:
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertEqual(result.stdout, "")
            error = json.loads(tool(*args, "--json", check=False).stdout)["error"]
            self.assertIn(text, error["message"])
        self.assertEqual(names_below(self.root), self.before)

    def test_inputs_that_are_not_there_or_not_adapters(self):
        none = self.root / "none"
        for command in (["inspect", none], ["diff", self.adapter, none], ["convert", none, self.root / "out", "--model", self.base],
                        ["from-lora", none, "--density", "0.1"], ["extract", "--base", self.base, "--tuned", none, "--density", "1"]):
            self.assert_fails(*command, text=str(none))
        self.assert_fails("inspect", self.base, text="adapter_config.json")
        self.assert_fails("from-lora", self.adapter, "--density", "0.1", text='expected LORA, found "SHIRA"')
        self.assert_fails("convert", self.adapter, self.root / "out", "--model", self.adapter, text="config.json")

    def test_options_out_of_range_are_wrong_usage(self):
        for density in ("0", "-0.1", "1.01", "nan", "x"):
            self.assert_fails("from-lora", self.adapter, "--density", density, status=2, text="expected above 0 and at most 1")
        self.assert_fails("convert", self.adapter, self.root / "out", "--values", "fp8", status=2, text="fp8")
        self.assert_fails("frobnicate", status=2, text="has no command 'frobnicate'")
        self.assert_fails("inspekt", status=2, text="did you mean 'shira-adapter inspect'?")
        self.assert_fails("inspect", self.adapter, "--svgg", "x", status=2, text="did you mean --svg?")
        self.assert_fails("convert", self.adapter, status=2, text="shira-adapter convert --help")
        self.assert_fails("convert", self.adapter, self.root / "out", "--to", "zip", "--model", self.base, text="known are peft, packed")
        self.assert_fails("convert", self.adapter, self.root / "out", "--to", "packed", "--model", self.base, text="ends in .shira")

    def test_what_is_there_stays_without_force(self):
        kept = self.root / "kept"
        kept.write_text("mine")
        self.before.add("kept")
        self.assert_fails("convert", self.adapter, kept, "--model", self.base, text="exists; --force replaces it")
        self.assert_fails("convert", self.adapter, kept, "--model", self.base, "--to", "peft", "--force", text="exists and is no folder")
        self.assertEqual(kept.read_text(), "mine")
        self.assert_fails("convert", self.adapter, self.root / "no" / "out", "--model", self.base, text="is no folder")
        copy = self.root / "copy"
        tool("convert", self.adapter, copy, "--model", self.base)
        (copy / "README.md").write_text("mine")
        tool("convert", self.adapter, copy, "--model", self.base, "--values", "bf16", "--force")
        self.assertEqual(names_below(copy), {"README.md", "adapter_config.json", "adapter_model.safetensors"})

    def test_a_full_disk_leaves_nothing(self):
        for name, file in (("out", "out/adapter_model.safetensors"), ("out.shira", "out.shira")):
            result = subprocess.run([binary("shira-adapter"), "convert", self.adapter, self.root / name, "--model", self.base],
                                    capture_output=True, text=True,
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(f"cannot write {self.root}/{file}", result.stderr)
            self.assertEqual(names_below(self.root), self.before)

    @unittest.skipUnless(has_terminals(), "this machine has no pseudo-terminals (/dev/pts)")
    def test_ctrl_c_ends_long_work_and_leaves_nothing(self):
        config = make_base().config
        config.hidden_size, config.intermediate_size, config.num_hidden_layers = 512, 4096, 10
        model = type(make_base())(config)
        model.save_pretrained(self.root / "large")
        with torch.no_grad():  # All elements differ and are kept: far longer than the 0.3 s that the bar waits.
            for parameter in model.parameters():
                parameter += 1
        model.save_pretrained(self.root / "larger")
        self.before = names_below(self.root)
        # On a terminal, where progress is shown.
        terminal, side = pty.openpty()
        process = subprocess.Popen([binary("shira-adapter"), "extract", "--base", self.root / "large", "--tuned", self.root / "larger",
                                    "--density", "1", "--out", self.root / "out"], stdout=subprocess.PIPE, stderr=side)
        os.close(side)
        shown = os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertIn(b"Comparing [", shown)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(names_below(self.root), self.before)

    def test_a_reader_that_leaves_is_no_error_of_ours(self):
        read, write = os.pipe()
        os.close(read)
        result = subprocess.run([binary("shira-adapter"), "inspect", self.adapter], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        self.assertEqual((result.returncode, result.stderr), (141, b""))

    def test_help_is_complete_for_every_command(self):
        for command in ("inspect", "convert", "extract", "from-lora", "diff", "verify"):
            text = tool(command, "--help").stdout
            self.assertIn("Examples:", text)
            self.assertIn("--json", text)


if __name__ == "__main__":
    unittest.main()
