"""What survives the end of a server, however it ends; and what a server loads when it starts."""

import json
import pathlib
import random
import shutil
import tempfile
import threading
import unittest

import grpc

from fixtures import PROMPT, select, upload_messages, world
from server_process import ServerProcess, error_of

COUNT = 16
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}
KILLS = 20


class PersistenceTest(unittest.TestCase):
    def setUp(self):
        self.world = world()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.state = self.folder / "state.json"
        self.adapters = self.folder / "adapters"
        self.uploads = self.folder / "uploads"
        for name in ("alpha", "beta", "gamma"):
            shutil.copytree(self.world.adapters / name, self.adapters / name)

    def server(self, *flags):
        return self.world.server("--state-file", self.state, "--adapter-root", self.adapters, *flags, adapters=())

    def ask(self, client, **fields):
        return list(client.inference.Generate(prompt=PROMPT, stop=PLAIN, **fields).token_ids)

    def load(self, client, name, folder, **fields):
        return client.admin.LoadAdapter(name=name, path=str(self.adapters / folder), **fields)

    def test_everything_is_there_again_after_a_kill(self):
        with self.server() as (server, client):
            self.load(client, "tone", "alpha")
            client.admin.SetAlias(name="prod", target="tone")
            self.load(client, "tone", "beta", replace=True)
            self.load(client, "other", "gamma")
            client.admin.PinAdapter(name="other")
            client.admin.CreateBlend(name="blend", parts=[{"name": "tone"}, {"name": "other", "weight": 0.5}], rule=1)
            blended = self.ask(client, adapter=select("blend"))
            client.admin.UnloadAdapter(name="other")
            self.load(client, "other", "gamma")
            client.admin.PinAdapter(name="other")
            client.admin.ApplyAdapter(**select(prod=1.0))
            before = client.admin.ListAdapters().adapters
            server.kill()
        with self.server() as (server, client):
            after = client.admin.ListAdapters().adapters
            identity = lambda a: (a.name, a.version, a.sha256, a.state, a.path, a.format, a.pinned, list(a.aliases))
            self.assertEqual([identity(a) for a in after], [identity(a) for a in before])
            self.assertEqual(self.ask(client, adapter=select("tone")), self.world.greedy("beta", COUNT))
            self.assertEqual(self.ask(client, adapter=select("prod")), self.world.greedy("alpha", COUNT))
            self.assertEqual(self.ask(client), self.world.greedy("alpha", COUNT))
            self.assertEqual(self.ask(client, adapter=select("blend")), blended)
            self.assertEqual(self.load(client, "other", "alpha", replace=True).adapter.version, 3)

    def test_a_file_that_is_gone_or_changed_is_reported_and_skipped(self):
        with self.server() as (_, client):
            for name in ("alpha", "beta", "gamma"):
                self.load(client, name, name)
            client.admin.ApplyAdapter(**select("beta"))
        shutil.rmtree(self.adapters / "alpha")
        self.world.change_values(self.adapters / "beta", seed=7)
        with self.server() as (server, client):
            states = {a.name: (a.state, a.error) for a in client.admin.ListAdapters().adapters}
            self.assertEqual({name: state for name, (state, _) in states.items()}, {"alpha": 40, "beta": 40, "gamma": 20})
            self.assertIn("has changed", states["beta"][1])
            self.assertIn("adapter alpha@1: not restored", server.log())
            self.assertEqual(client.serving(), "SERVING")
            self.assertEqual(self.ask(client, adapter=select("gamma")), self.world.greedy("gamma", COUNT))
            # The default state is no other than the one that was set.
            code, info, _, message = error_of(lambda: self.ask(client))
            self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_NOT_READY"))
            self.assertIn("default state", message)
            state = client.admin.GetResidentState()
            self.assertEqual([(a.name, a.version) for a in state.default_state.adapters], [("beta", 0)])
            client.admin.RevertAdapter()
            self.assertEqual(self.ask(client), self.world.greedy(None, COUNT))

    def test_a_damaged_state_file_ends_the_start_and_stays(self):
        self.state.write_text('{"format": "shira-server-state", "format_version": 1')
        for text, complaint in ((self.state.read_text(), "no JSON"), ('{"format": "shira-server-state", "format_version": 9}', "found 9")):
            self.state.write_text(text)
            with ServerProcess(*self.world.flags(), "--state-file", self.state, wait=False) as server:
                self.assertEqual(server.wait(), 1)
                self.assertIn(complaint, server.log())
                self.assertIn(str(self.state), server.log())
            self.assertEqual(self.state.read_text(), text)

    def test_two_servers_do_not_share_a_state_file(self):
        with self.server():
            with ServerProcess(*self.world.flags(), "--state-file", self.state, wait=False) as second:
                self.assertEqual(second.wait(), 1)
                self.assertIn("another server", second.log())

    # ---- Killed at any moment ----

    def snapshot(self, client):
        adapters = frozenset((a.name, a.version, a.state, a.pinned) for a in client.admin.ListAdapters().adapters)
        aliases = frozenset((a.name, a.target.name, a.target.version) for a in client.admin.ListAliases().aliases)
        default = tuple((a.name, a.version, a.weight) for a in client.admin.GetResidentState().default_state.adapters)
        return adapters, aliases, default

    def change(self, admin, choice):
        """One change of what is kept, most of which succeed."""
        name = choice.choice(("a", "b", "c"))
        path = str(self.adapters / choice.choice(("alpha", "beta", "gamma")))
        choice.choice((
            lambda: admin.LoadAdapter(name=name, path=path, replace=True),
            lambda: admin.LoadAdapter(name=name, path=path, replace=True),
            lambda: admin.UploadAdapter(upload_messages(pathlib.Path(path), name, replace=True)),
            lambda: admin.UploadAdapter(upload_messages(pathlib.Path(path), name, replace=True)),
            lambda: admin.UnloadAdapter(name=name),
            lambda: admin.SetAlias(name="prod", target=name),
            lambda: admin.RollbackAlias(name="prod"),
            lambda: admin.DeleteAlias(name="prod"),
            lambda: admin.PinAdapter(name=name),
            lambda: admin.UnpinAdapter(name=name),
            lambda: admin.ApplyAdapter(**select(name)),
            lambda: admin.RevertAdapter(),
            lambda: admin.CreateBlend(name=f"blend{choice.randrange(3)}", rule=1,
                                      parts=[{"name": name, "weight": choice.choice((0.5, 2.0))}]),
        ))()

    def test_killed_at_any_moment_it_finds_the_state_before_or_after_the_last_change(self):
        choice = random.Random(5)
        before = None  # after the last change whose answer came, as the server told it
        changes = 0
        kept = {True: 0, False: 0}
        for _ in range(KILLS):
            had_file = self.state.exists()
            with self.server("--upload-dir", self.uploads) as (server, client):
                found = self.snapshot(client)
                if had_file:
                    self.check_uploads()
                if before is not None:
                    self.expect_at_most_one_change(before, found)
                    kept[found == before] += 1
                before = found
                killer = threading.Timer(choice.uniform(0.0, 0.3), server.process.kill)
                killer.start()
                try:
                    while True:
                        try:
                            self.change(client.admin, choice)
                            changes += 1
                        except grpc.RpcError as error:
                            if error.code() == grpc.StatusCode.UNAVAILABLE:
                                raise
                        before = self.snapshot(client)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                killer.join()
                server.process.wait()
            if self.state.exists():
                self.check_file()
        self.assertGreater(changes, KILLS)
        self.assertGreater(min(kept.values()), 0, kept)  # both have happened

    def expect_at_most_one_change(self, before, found):
        adapters, aliases, default = before
        new_adapters, new_aliases, new_default = found
        changed = {name for name, *_ in adapters ^ new_adapters}
        self.assertLessEqual(len(aliases ^ new_aliases), 2, (before, found))
        # An alias that goes may take old versions of several names with it; everything else is about one.
        if aliases == new_aliases:
            self.assertLessEqual(len(changed), 1, (before, found))
        # The default changes alone, or follows an adapter that is replaced.
        if default != new_default and adapters == new_adapters:
            self.assertEqual(aliases, new_aliases, (before, found))

    def check_uploads(self):
        """A server that has just started has those that its state file names."""
        named = {a["source"] for a in json.loads(self.state.read_text())["adapters"] if a["source"].startswith(str(self.uploads))}
        self.assertEqual({str(p) for p in self.uploads.iterdir() if p.name != ".lock"}, named)

    def check_file(self):
        state = json.loads(self.state.read_text())
        self.assertEqual(state["format_version"], 2)
        for adapter in state["adapters"]:
            self.assertTrue(pathlib.Path(adapter["source"]).exists(), adapter)


class AdapterDirTest(unittest.TestCase):
    def test_a_folder_is_loaded_at_start_and_what_is_bad_in_it_is_skipped(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(world().adapters / "alpha", folder / "tone")
        shutil.copytree(world().adapters / "beta", folder / "terse")
        shutil.copytree(world().broken / "nan", folder / "bad")
        (folder / "garbage.shira").write_bytes(b"garbage")
        (folder / "bad name").mkdir()
        (folder / "notes.txt").write_text("no adapter")
        with world().server("--adapter-dir", folder, adapters=("gamma",)) as (server, client):
            states = {a.name: a.state for a in client.admin.ListAdapters().adapters}
            self.assertEqual(states, {"bad": 40, "garbage": 40, "gamma": 20, "terse": 20, "tone": 20})
            for skipped in ("adapter bad: skipped", "adapter garbage: skipped", "bad name: adapter name"):
                self.assertIn(skipped, server.log())
            reply = client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select("tone"))
            self.assertEqual(list(reply.token_ids), world().greedy("alpha", COUNT))
            # It is a root too.
            client.admin.LoadAdapter(name="again", path=str(folder / "terse"))

    def test_a_folder_that_is_not_there_ends_the_start(self):
        with ServerProcess(*world().flags(), "--adapter-dir", "/no/such/folder", wait=False) as server:
            self.assertEqual(server.wait(), 1)
            self.assertIn("/no/such/folder", server.log())

    def test_what_the_folder_has_new_wins_over_what_the_state_file_cannot_find(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(world().adapters / "alpha", folder / "adapters" / "tone")
        flags = ("--adapter-dir", folder / "adapters", "--state-file", folder / "state.json")
        with world().server(*flags, adapters=()) as (_, client):
            self.assertEqual(client.admin.GetAdapter(name="tone").adapter.version, 1)
        shutil.rmtree(folder / "adapters" / "tone")
        shutil.copytree(world().adapters / "beta", folder / "adapters" / "tone")
        with world().server(*flags, adapters=()) as (_, client):
            adapter = client.admin.GetAdapter(name="tone").adapter
            self.assertEqual((adapter.state, adapter.version), (20, 2))
            reply = client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select("tone"))
            self.assertEqual(list(reply.token_ids), world().greedy("beta", COUNT))
