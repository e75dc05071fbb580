"""A disk without room for what the server writes: uploads, blends, the state file."""

import contextlib
import pathlib
import subprocess
import tempfile
import unittest

import grpc

from fixtures import PROMPT, select, upload_messages, world
from scraping import free_port, scrape, value
from server_process import error_of

Code = grpc.StatusCode
COUNT = 16
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}


@contextlib.contextmanager
def small_disk(kilobytes):
    """A folder that is a file system of that size; only root may make one."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, text=True)
        if mounted.returncode != 0:
            raise unittest.SkipTest(f"needs a small tmpfs, which this user may not mount: {mounted.stderr.strip()}")
        try:
            yield pathlib.Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(disk):
    """Takes what is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return path


class DiskFullTest(unittest.TestCase):
    def setUp(self):
        self.world = world()
        self.disk = self.enterContext(small_disk(160))  # one adapter has 53 KB

    def files(self):
        return sorted(str(p.relative_to(self.disk)) for p in self.disk.rglob("*"))

    def check_refused(self, call, reason):
        before = self.files()
        code, info, retry, message = error_of(call)
        self.assertEqual((code, info.reason), (Code.RESOURCE_EXHAUSTED, reason), message)
        self.assertIsNotNone(retry)
        self.assertIn("No space left on device", message)
        self.assertEqual(self.files(), before)

    def check_answer(self, client, adapter, reference=None):
        reply = client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(adapter))
        self.assertEqual(list(reply.token_ids), self.world.greedy(reference or adapter, COUNT))

    def test_an_upload_is_refused_and_leaves_nothing(self):
        with self.world.server("--upload-dir", self.disk / "uploads", adapters=("gamma",)) as (_, client):
            def upload(name):
                return client.admin.UploadAdapter(upload_messages(self.world.adapters / name, name))

            upload("alpha")
            filler = fill(self.disk)
            self.check_refused(lambda: upload("beta"), "UPLOAD_QUOTA_EXHAUSTED")
            self.assertEqual({a.name for a in client.admin.ListAdapters().adapters}, {"alpha", "gamma"})
            self.check_answer(client, "alpha")
            filler.unlink()
            upload("beta")
            self.check_answer(client, "beta")

    def test_a_blend_is_refused_wherever_it_was_to_be_written(self):
        with self.world.server("--state-file", self.disk / "state.json", "--adapter-root", self.disk,
                               adapters=("alpha", "beta")) as (_, client):
            def blend(**fields):
                return lambda: client.admin.CreateBlend(name="blend", rule=1, parts=[{"name": "alpha"}, {"name": "beta"}], **fields)

            filler = fill(self.disk)
            for path in ("", str(self.disk / "blend.shira"), str(self.disk / "blend")):  # "": beside the state file
                with self.subTest(path=path):
                    self.check_refused(blend(save_path=path), "ADAPTER_MEMORY_EXHAUSTED")
            self.check_answer(client, "alpha")
            filler.unlink()
            self.assertEqual(blend(save_path=str(self.disk / "blend.shira"))().adapter.state, 20)
            self.assertIn("blend.shira", self.files())

    def test_the_state_file_keeps_its_last_whole_content(self):
        state = self.disk / "state.json"
        port = free_port()

        def unsaved():
            return value(scrape(port), "shira_state_file_unsaved_changes")

        def load(client, name):
            client.admin.LoadAdapter(name=name, path=name)

        def names(client):
            return {a.name for a in client.admin.ListAdapters().adapters}

        server = lambda: self.world.server("--state-file", state, "--metrics-listen", port, adapters=())
        with server() as (process, client):
            load(client, "alpha")
            saved = state.read_bytes()
            filler = fill(self.disk)
            files = self.files()
            load(client, "beta")  # in effect, but not saved
            self.check_answer(client, "beta")
            self.assertEqual((state.read_bytes(), self.files()), (saved, files))
            self.assertGreater(unsaved(), 0)
            self.assertIn("the state file could not be written", process.log())
            self.assertIn("No space left on device", process.log())
            process.kill()
        with server() as (process, client):
            self.assertEqual(names(client), {"alpha"})
            load(client, "beta")
            filler.unlink()
            load(client, "gamma")
            self.assertEqual(unsaved(), 0)
            process.kill()
        with server() as (_, client):
            self.assertEqual(names(client), {"alpha", "beta", "gamma"})
