"""A server that is measured: with the environment that users give it, its adapters loaded, its counters readable."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import rows

ROOT = rows.ROOT
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]

from server_process import Client  # noqa: E402

MODEL = ROOT / ".deps/models/smollm2-135m-instruct-q4_1.gguf"
COUNTERS = ("switches", "fused_steps", "patched_steps", "step_rows", "patched_rows")


def knows_flag(binary, flag):
    return flag in subprocess.run([binary, "--help"], capture_output=True, text=True).stdout


def integers(message, into):
    """Every integer field below a protobuf message, by its name; zeros, too."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        value = getattr(message, field.name)
        if field.type == field.TYPE_MESSAGE:
            integers(value, into)
        elif isinstance(value, int):
            into[field.name] = value
    return into


class MeasuredServer:
    """Until the end of a with block."""

    def __init__(self, bin_folder, dtype, threads, flags=()):
        self.folder = tempfile.TemporaryDirectory()
        port_file = pathlib.Path(self.folder.name) / "port"
        self.log = pathlib.Path(self.folder.name) / "log"
        adapters = ROOT / ".deps/peers/files/adapters"
        self.process = subprocess.Popen(
            [str(part) for part in (bin_folder / "shira-server", "--model", MODEL, "--dtype", dtype, "--threads", threads, "--listen",
                                    "127.0.0.1:0", "--port-file", port_file, "--adapter-root", adapters, "--max-running", 16, *flags)],
            stderr=self.log.open("wb"))
        while not port_file.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.address = f"127.0.0.1:{port_file.read_text().strip()}"
        self.client = Client(self.address)
        self.loaded = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def load(self, names):
        """Adapters are called by their place below the root: "equal/07" is equal-07."""
        for name in sorted(set(names) - self.loaded - {""}):
            self.client.admin.LoadAdapter(name=name, path=name.replace("-", "/"), timeout=120)
            self.loaded.add(name)

    def counters(self):
        """Those of COUNTERS that this server has."""
        found = integers(self.client.admin.GetResidentState(), {})
        if hasattr(self.client, "operations"):
            found |= integers(self.client.operations.GetServerStatus(), {})
        return {name: found[name] for name in COUNTERS if name in found}
