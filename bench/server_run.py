"""A server that is measured: with the environment that users give it, its adapters loaded, its counters readable."""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import rows

ROOT = rows.ROOT
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]

from server_process import Client  # noqa: E402

MODEL = ROOT / ".deps/models/smollm2-135m-instruct-q4_1.gguf"
# Of the server's metrics, by the names that the rows have.
COUNTERS = {"shira_switches_total": "switches", 'shira_steps_total{weights="fused"}': "fused_steps",
            'shira_steps_total{weights="patched"}': "patched_steps"}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class MeasuredServer:
    """Until the end of a with block."""

    def __init__(self, bin_folder, dtype, threads, flags=()):
        self.folder = tempfile.TemporaryDirectory()
        port_file = pathlib.Path(self.folder.name) / "port"
        self.log = pathlib.Path(self.folder.name) / "log"
        adapters = ROOT / ".deps/peers/files/adapters"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [str(part) for part in (bin_folder / "shira-server", "--model", MODEL, "--dtype", dtype, "--threads", threads, "--listen",
                                    "127.0.0.1:0", "--port-file", port_file, "--adapter-root", adapters, "--max-running", 16,
                                    "--metrics-listen", self.metrics, *flags)],
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
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as page:
            values = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if not line.startswith("#"))
        return {name: int(float(values[metric])) for metric, name in COUNTERS.items()}
