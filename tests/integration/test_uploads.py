"""Uploads through the real server and the command line."""

import json
import pathlib
import subprocess
import tempfile
import threading
import unittest

import grpc
import shira_testutil

from fixtures import ADAPTER_FILES, PROMPT, select, upload_messages, world
from server_process import error_of

COUNT = 16
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}


class UploadsTest(unittest.TestCase):
    def setUp(self):
        self.world = world()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.uploads = self.folder / "uploads"
        self.flags = ["--upload-dir", self.uploads, "--max-upload-mb", 1, "--upload-quota-mb", 1,
                      "--state-file", self.folder / "state.json"]
        self.server, self.client = self.enterContext(self.world.server(*self.flags, adapters=()))
        self.admin = self.client.admin

    def stored(self):
        return sorted(p.name for p in self.uploads.iterdir() if p.name != ".lock")

    def wait_until_stored(self, count):
        for _ in range(500):
            if len(self.stored()) == count:
                return
            threading.Event().wait(0.02)
        self.assertEqual(len(self.stored()), count, self.stored())

    def ask(self, name):
        return list(self.client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(name)).token_ids)

    def test_an_uploaded_adapter_does_what_peft_says_and_goes_with_its_files(self):
        reply = self.admin.UploadAdapter(upload_messages(self.world.adapters / "alpha", "team/tone"))
        self.assertEqual((reply.adapter.name, reply.adapter.version, reply.already_loaded), ("team/tone", 1, False))
        self.assertEqual(self.ask("team/tone"), self.world.greedy("alpha", COUNT))
        self.assertEqual(len(self.stored()), 1)
        again = self.admin.UploadAdapter(upload_messages(self.world.adapters / "alpha", "team/tone"))
        self.assertTrue(again.already_loaded)
        self.assertEqual(len(self.stored()), 1)
        code, info, _, _ = error_of(
            lambda: self.admin.UploadAdapter(upload_messages(self.world.adapters / "beta", "team/tone")))
        self.assertEqual((code, info.reason), (grpc.StatusCode.ALREADY_EXISTS, "ADAPTER_ALREADY_EXISTS"))
        replaced = self.admin.UploadAdapter(upload_messages(self.world.adapters / "beta", "team/tone", replace=True))
        self.assertEqual(replaced.adapter.version, 2)
        self.assertEqual(self.ask("team/tone"), self.world.greedy("beta", COUNT))
        self.wait_until_stored(1)
        self.admin.UnloadAdapter(name="team/tone")
        self.assertEqual(self.stored(), [])

    def test_a_stream_that_breaks_leaves_nothing(self):
        def broken():
            stream = upload_messages(self.world.adapters / "alpha", "tone", chunk=512)
            for _ in range(5):
                yield next(stream)
            raise RuntimeError("the client breaks")

        with self.assertRaises(grpc.RpcError):
            self.admin.UploadAdapter(broken())
        self.wait_until_stored(0)
        short = list(upload_messages(self.world.adapters / "alpha", "tone"))[:-1]
        code, info, _, message = error_of(lambda: self.admin.UploadAdapter(short))
        self.assertEqual((code, info.reason), (grpc.StatusCode.DATA_LOSS, "UPLOAD_DAMAGED"))
        self.assertIn("are missing", message)
        damaged = list(upload_messages(self.world.adapters / "alpha", "tone"))
        damaged[-1] = {"data": bytes([damaged[-1]["data"][0] ^ 1]) + damaged[-1]["data"][1:]}
        code, info, _, _ = error_of(lambda: self.admin.UploadAdapter(damaged))
        self.assertEqual((code, info.reason), (grpc.StatusCode.DATA_LOSS, "UPLOAD_DAMAGED"))
        self.assertEqual(self.stored(), [])
        self.assertEqual(list(self.admin.ListAdapters().adapters), [])

    def test_many_clients_upload_at_a_time_within_the_quota(self):
        results = []

        def upload(i):
            try:
                results.append(self.admin.UploadAdapter(upload_messages(self.world.adapters / "alpha", f"a{i}", chunk=1000)))
            except grpc.RpcError as error:
                results.append(error.code())

        size = sum((self.world.adapters / "alpha" / file).stat().st_size for file in ADAPTER_FILES)
        room = (1 << 20) // size
        threads = [threading.Thread(target=upload, args=(i,)) for i in range(room + 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        loaded = [r for r in results if not isinstance(r, grpc.StatusCode)]
        self.assertEqual({r for r in results if isinstance(r, grpc.StatusCode)}, {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.assertLessEqual(len(loaded), room)
        self.assertGreater(len(loaded), 0)
        self.wait_until_stored(len(loaded))
        for bytes, expected in ((1 << 20, (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPLOAD_QUOTA_EXHAUSTED")),
                                (2 << 20, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_UPLOAD"))):  # never fits
            code, info, retry, _ = error_of(lambda: self.admin.UploadAdapter(
                [{"header": {"name": "x", "files": [{"name": "a.shira", "size_bytes": bytes}]}}]))
            self.assertEqual((code, info.reason), expected)
            self.assertEqual(retry is not None, code == grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_a_killed_server_leaves_no_half_of_an_upload(self):
        self.admin.UploadAdapter(upload_messages(self.world.adapters / "alpha", "whole"))
        arrived = threading.Event()

        def stalled():
            stream = upload_messages(self.world.adapters / "beta", "half", chunk=512)
            for _ in range(4):
                yield next(stream)
            arrived.set()
            threading.Event().wait(20)

        def upload():
            with self.assertRaises(grpc.RpcError):
                self.admin.UploadAdapter(stalled())

        thread = threading.Thread(target=upload)
        thread.start()
        arrived.wait(20)
        self.wait_until_stored(2)
        self.server.kill()
        thread.join(30)
        self.assertEqual(len(self.stored()), 2)
        server, client = self.enterContext(self.world.server(*self.flags, adapters=()))
        self.assertEqual(len(self.stored()), 1)
        self.assertEqual([a.name for a in client.admin.ListAdapters().adapters], ["whole"])
        reply = client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select("whole"))
        self.assertEqual(list(reply.token_ids), self.world.greedy("alpha", COUNT))

    def test_the_command_line_uploads_folders_and_files(self):
        def upload(*args, status=0):
            result = subprocess.run([shira_testutil.binary("shira"), "upload", *map(str, args), "--server",
                                     self.server.target], capture_output=True, text=True)
            self.assertEqual(result.returncode, status, result.stdout + result.stderr)
            return result

        alpha = self.world.adapters / "alpha"
        (alpha / "README.md").touch()  # what PEFT writes beside it is not sent
        self.assertIn("Uploaded tone v1", upload(alpha, "--name", "tone").stdout)
        self.assertIn("Already loaded tone v1", upload(alpha, "--name", "tone").stdout)
        packed = self.folder / "beta.shira"
        subprocess.run([shira_testutil.binary("shira-adapter"), "convert", self.world.adapters / "beta", packed,
                        "--model", self.world.model], check=True, capture_output=True)
        self.assertIn("ALREADY_EXISTS", upload(packed, "--name", "tone", status=1).stderr)
        reply = json.loads(upload(packed, "--name", "tone", "--replace", "--json").stdout)
        self.assertEqual((reply["adapter"]["version"], reply["adapter"]["format"]), (2, "packed_shira"))
        self.assertEqual(self.ask("tone"), self.world.greedy("beta", COUNT))
        self.assertIn("no such file", upload(self.folder / "absent", "--name", "x", status=1).stderr)
        self.assertIn("found 0", upload(self.uploads, "--name", "x", status=1).stderr)
