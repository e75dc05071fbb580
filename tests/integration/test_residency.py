"""Where adapters are, in a process with little room for them; what memory an unloaded one gives back."""

import pathlib
import shutil
import tempfile
import unittest

import grpc
import torch
from safetensors.torch import load_file, save_file

from fixtures import PROMPT, select, world
from scraping import free_port, scrape, value
from server_process import FREES_AT_ONCE, error_of

ON_DISK, IN_MEMORY, FUSED = 1, 2, 3
PLAIN = {"max_tokens": 4, "ignore_eos": True}
COUNT = 8
ROOM_MB = 2  # of five states: a pinned one, the resident one, one in use, a new one, and one more


class ResidencyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        for i in range(COUNT):
            # 41,000 entries each, with masks of their own: 0.4 MB in fp32.
            world().make_adapter(cls.folder / f"big{i}", seed=i, mask_seed=100 + i, r=20)

    def load_all(self, admin, prefix="big", folder=None):
        for i in range(COUNT):
            admin.LoadAdapter(name=f"{prefix}{i}", path=str((folder or self.folder) / f"big{i}"))

    def names(self, admin, **filters):
        return [a.name for a in admin.ListAdapters(**filters).adapters]

    def ask(self, client, *names):
        return list(client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(*names)).token_ids)

    def test_the_least_recently_used_go_to_disk_and_come_back(self):
        with world().server("--adapter-root", self.folder, adapters=()) as (_, client):
            self.load_all(client.admin)
            expected = {f"big{i}": self.ask(client, f"big{i}") for i in range(COUNT)}
        port = free_port()
        flags = ("--adapter-root", self.folder, "--adapter-memory-mb", ROOM_MB, "--metrics-listen", port)
        with world().server(*flags, adapters=()) as (_, client):
            admin = client.admin
            admin.LoadAdapter(name="big0", path=str(self.folder / "big0"))
            self.assertTrue(admin.PinAdapter(name="big0").adapter.pinned)
            self.load_all(admin)
            on_disk = self.names(admin, residencies=[ON_DISK])
            self.assertIn("big1", on_disk)
            self.assertNotIn("big0", on_disk)
            self.assertNotIn(f"big{COUNT - 1}", on_disk)
            for i in (1, 2, 3, 4, 5, 6, 7, 1, 0, 3):
                self.assertEqual(self.ask(client, f"big{i}"), expected[f"big{i}"], i)
                self.assertEqual(self.names(admin, residencies=[FUSED]), [f"big{i}"])
                self.assertNotIn("big0", self.names(admin, residencies=[ON_DISK]))
            samples = scrape(port)
            self.assertGreaterEqual(value(samples, "shira_adapter_cold_start_seconds_count"), 3)
            self.assertGreaterEqual(value(samples, "shira_adapter_evictions_total", what="states"), 3)
            self.assertEqual(value(samples, "shira_adapters_pinned"), 1)
            # One in use stays too.
            stream = client.stream(prompt=PROMPT, stop={"max_tokens": 15000, "ignore_eos": True}, adapter=select("big1"))
            next(stream)
            for i in range(2, COUNT):
                self.ask(client, f"big{i}")
            self.assertNotIn("big1", self.names(admin, residencies=[ON_DISK]))
            self.assertEqual([(a.name, a.running_requests) for a in admin.ListAdapters(name_prefix="big1").adapters],
                             [("big1", 1)])
            stream.cancel()

    def test_an_adapter_on_disk_whose_file_is_gone_says_so(self):
        with tempfile.TemporaryDirectory() as copies:
            copies = pathlib.Path(copies)
            for i in range(COUNT):
                shutil.copytree(self.folder / f"big{i}", copies / f"big{i}")
            with world().server("--adapter-root", copies, "--adapter-memory-mb", ROOM_MB, adapters=()) as (_, client):
                self.load_all(client.admin, folder=copies)
                self.assertIn("big0", self.names(client.admin, residencies=[ON_DISK]))
                shutil.rmtree(copies / "big0")
                code, info, _, _ = error_of(lambda: self.ask(client, "big0"))
                self.assertEqual((code, info.reason), (grpc.StatusCode.NOT_FOUND, "ADAPTER_NOT_FOUND"))
                self.ask(client, "big1")

    def test_pages_and_filters(self):
        with world().server("--adapter-root", self.folder, adapters=("alpha", "beta")) as (_, client):
            self.load_all(client.admin, prefix="team/big")
            error_of(lambda: client.admin.LoadAdapter(name="team/broken", path=str(world().broken / "nan")))
            names, token = [], ""
            while True:
                page = client.admin.ListAdapters(page_size=2, page_token=token, name_prefix="team/", states=[20])
                names += [a.name for a in page.adapters]
                token = page.next_page_token
                if not token:
                    break
                self.assertEqual(len(page.adapters), 2)
            self.assertEqual(names, [f"team/big{i}" for i in range(COUNT)])
            self.assertEqual(self.names(client.admin, states=[40]), ["team/broken"])
            self.assertEqual(self.names(client.admin, name_prefix="alp"), ["alpha"])
            code, info, _, _ = error_of(lambda: client.admin.ListAdapters(states=[7]))
            self.assertEqual((code, info.reason), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"))

    def test_unloading_gives_the_memory_back(self):
        with world().server("--adapter-root", self.folder, adapters=(), environment=FREES_AT_ONCE) as (server, client):
            admin = client.admin

            def cycle():
                for i in range(COUNT):
                    for copy in range(20):
                        # The same content under several names costs once; weights make states of their own.
                        admin.LoadAdapter(name=f"big{i}", path=str(self.folder / f"big{i}"))
                        client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 1}, adapter=select(**{f"big{i}": 1.0 + copy}))
                full = server.resident_bytes()
                for i in range(COUNT):
                    admin.UnloadAdapter(name=f"big{i}")
                self.assertEqual(list(admin.ListAdapters().adapters), [])
                return full, server.resident_bytes()

            cycle()  # what the process keeps for good: arenas, threads, buffers
            before = server.resident_bytes()
            for _ in range(3):
                full, after = cycle()
            self.assertGreater(full - before, 10 << 20)
            self.assertLess(after - before, (full - before) / 4, (before, full, after))

    def test_refused_loads_give_the_memory_back(self):
        """Files of 63 MB that say nothing of this model, and names that fill an error."""
        with tempfile.TemporaryDirectory() as root:
            folder = pathlib.Path(root) / "large"
            shutil.copytree(self.folder / "big0", folder)
            weights = folder / "adapter_model.safetensors"
            entries = 32 << 10
            tensors = load_file(weights)
            for i in range(160):
                tensors[f"base_model.model.no_such_parameter_{i}.shira_weight"] = torch.ones(entries)
                tensors[f"base_model.model.no_such_parameter_{i}.shira_indices"] = torch.ones(2, entries, dtype=torch.int32)
            save_file(tensors, weights)
            self.assertGreater(weights.stat().st_size, 60 << 20)
            with world().server("--adapter-root", root, adapters=(), environment=FREES_AT_ONCE) as (server, client):
                def refuse(name):
                    code, info, _, _ = error_of(lambda: client.admin.LoadAdapter(name=name, path=str(folder)))
                    self.assertEqual((code, info.reason), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ADAPTER"))

                refuse("first")
                before = server.resident_bytes()
                for i in range(4):
                    refuse(f"another{i}")
                self.assertLess(server.resident_bytes() - before, 16 << 20)
