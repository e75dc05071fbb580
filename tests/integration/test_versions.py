"""Replaced versions and aliases under running requests, with transformers as the oracle for what each has to say."""

import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest

import grpc
import shira_testutil

from fixtures import PROMPT, select, world
from server_process import collect, error_of

COUNT = 24
LONG = 4000  # takes longer than what is done meanwhile
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}


class VersionsTest(unittest.TestCase):
    def setUp(self):
        self.world = world()
        # Below the world's root, so that the flags of its servers allow it.
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(dir=self.world.adapters)))
        self.server, self.client = self.enterContext(self.world.server("--adapter-root", self.folder, adapters=()))
        self.admin = self.client.admin
        self.admin.LoadAdapter(name="tone", path="alpha")

    def ask(self, name, count=COUNT):
        reply = self.client.inference.Generate(
            prompt=PROMPT, stop={"max_tokens": count, "ignore_eos": True}, adapter=select(name))
        return list(reply.token_ids), reply.summary.adapter[0]

    def listed(self):
        states = {10: "LOADING", 20: "READY", 30: "UNLOADING", 40: "FAILED"}
        return [f"{a.name}@{a.version} {states[a.state]}" for a in self.admin.ListAdapters().adapters]

    def wait_until_listed(self, expected):
        for _ in range(500):
            if self.listed() == expected:
                return
            threading.Event().wait(0.02)
        self.assertEqual(self.listed(), expected)

    def test_running_requests_end_on_the_old_version_and_new_ones_use_the_new(self):
        alone, _ = self.ask("tone", LONG)  # the prompt's keys and values are known for the old version now
        self.assertEqual(alone[:COUNT], self.world.greedy("alpha", COUNT))
        stream = self.client.stream(prompt=PROMPT, stop={"max_tokens": LONG, "ignore_eos": True}, adapter=select("tone"))
        first = next(stream)
        code, info, _, _ = error_of(lambda: self.admin.LoadAdapter(name="tone", path="beta"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.ALREADY_EXISTS, "ADAPTER_ALREADY_EXISTS"))
        replaced = self.admin.LoadAdapter(name="tone", path="beta", replace=True)
        self.assertEqual((replaced.adapter.version, replaced.already_loaded), (2, False))
        again = self.admin.LoadAdapter(name="tone", path="beta", replace=True)
        self.assertEqual((again.adapter.version, again.already_loaded), (2, True))
        self.assertEqual(self.listed(), ["tone@1 UNLOADING", "tone@2 READY"])
        code, info, _, _ = error_of(lambda: self.ask("tone@1"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_NOT_READY"))

        # Mixed with the old version's stream, the new one says what it says alone.
        for _ in range(3):
            ids, identity = self.ask("tone")
            self.assertEqual(ids, self.world.greedy("beta", COUNT))
            self.assertEqual((identity.name, identity.version, identity.sha256), ("tone", 2, replaced.adapter.sha256))
        _, ids, summary = collect(stream)
        self.assertEqual(list(first.chunk.token_ids) + ids, alone)
        self.assertEqual(summary.adapter[0].version, 1)
        self.wait_until_listed(["tone@2 READY"])
        self.admin.RevertAdapter()
        self.assertTrue(self.admin.VerifyWeights().matches_base)

    def test_an_alias_is_moved_under_load_and_rolled_back(self):
        self.admin.LoadAdapter(name="other", path="gamma")
        self.assertEqual(self.admin.SetAlias(name="prod", target="tone").alias.target.version, 1)
        expected = {"tone": self.world.greedy("alpha", COUNT), "other": self.world.greedy("gamma", COUNT)}
        answers, over = [], threading.Event()

        def user():
            while not over.is_set():
                ids, identity = self.ask("prod")
                answers.append((identity.name, ids == expected[identity.name]))

        users = [threading.Thread(target=user) for _ in range(3)]
        for thread in users:
            thread.start()
        for i in range(20):
            self.admin.SetAlias(name="prod", target=("other", "tone@1")[i % 2])
            # Whoever asks after the move gets the new target.
            self.assertEqual(self.ask("prod")[1].name, ("other", "tone")[i % 2])
        over.set()
        for thread in users:
            thread.join()
        self.assertEqual({name for name, _ in answers}, {"tone", "other"})
        self.assertTrue(all(right for _, right in answers))

        self.assertEqual(self.admin.RollbackAlias(name="prod").alias.target.name, "other")
        self.assertEqual(self.ask("prod")[0], expected["other"])
        self.assertEqual(self.admin.GetAdapter(name="prod").adapter.aliases, ["prod"])
        self.admin.ApplyAdapter(**select(prod=0.5))
        self.assertEqual(self.admin.GetResidentState().default_state.adapters[0].name, "other")
        code, info, _, _ = error_of(lambda: self.admin.DeleteAlias(name="prod"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "ALIAS_IS_DEFAULT"))
        self.admin.RevertAdapter()
        code, info, _, _ = error_of(lambda: self.admin.UnloadAdapter(name="other"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_HAS_ALIAS"))
        self.admin.DeleteAlias(name="prod")
        self.admin.UnloadAdapter(name="other")
        for call in (lambda: self.admin.RollbackAlias(name="prod"), lambda: self.admin.DeleteAlias(name="prod")):
            code, info, _, _ = error_of(call)
            self.assertEqual((code, info.reason), (grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND"))

    def test_the_default_state_follows_what_replaces_it(self):
        self.admin.ApplyAdapter(**select("tone"))
        self.admin.LoadAdapter(name="tone", path="beta", replace=True)
        reply = self.client.inference.Generate(prompt=PROMPT, stop=PLAIN)
        self.assertEqual(list(reply.token_ids), self.world.greedy("beta", COUNT))
        self.assertEqual(reply.summary.adapter[0].version, 2)
        # Nothing of the old version is in the weights.
        self.assertEqual(self.admin.GetResidentState().resident.adapters[0].version, 2)

    def test_the_command_line_does_all_of_it(self):
        def shira(*args, status=0):
            result = subprocess.run([shira_testutil.binary("shira"), *map(str, args), "--server", self.server.target],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, status, result.stderr)
            return result.stdout

        shutil.copytree(self.world.adapters / "beta", self.folder / "v2")
        self.assertIn("Loaded tone v2", shira("adapter", "load", "tone", self.folder / "v2", "--replace"))
        self.assertEqual(shira("alias", "set", "prod", "tone@2"), "prod -> tone@2\n")
        self.assertIn("Loaded tone v3", shira("adapter", "load", "tone", "gamma", "--replace"))
        self.assertEqual(shira("alias", "set", "prod", "tone"), "prod -> tone@3\n")
        self.assertIn("tone@3", shira("alias", "list"))
        self.assertEqual(shira("alias", "rollback", "prod"), "prod -> tone@2\n")
        self.assertEqual(shira("adapter", "pin", "prod"), "Pinned tone v2\n")
        self.assertEqual(shira("adapter", "unpin", "tone@2"), "Unpinned tone v2\n")
        self.assertIn("tone", shira("adapter", "list", "--prefix", "to", "--state", "READY", "--residency", "IN_MEMORY"))
        self.assertNotIn("tone", shira("adapter", "list", "--state", "FAILED", "--state", "LOADING"))
        shira("adapter", "list", "--state", "ANY", status=2)
        self.assertEqual(shira("alias", "delete", "prod"), "Deleted prod\n")
        self.assertEqual(self.listed(), ["tone@3 READY"])
