"""Faults and hostile clients against the real server: it answers others, frees what was taken, and its weights stay what they should be."""

import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc

from fixtures import PROMPT, select, world
from server_process import ServerProcess, collect, error_of

Code = grpc.StatusCode
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}
SHORT = {"max_tokens": 8, "ignore_eos": True}


def resident_mb(server):
    """Memory of the server's process."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def wait_for(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class FilesTest(unittest.TestCase):
    def check_alive(self, server, client, expected):
        self.assertIsNone(server.process.poll(), server.log())
        self.assertEqual(list(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), expected)

    def test_adapter_files_that_change_while_they_are_read(self):
        with world().server(adapters=("alpha",)) as (server, client), tempfile.TemporaryDirectory(dir=world().adapters) as folder:
            expected = list(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids)
            before = client.admin.VerifyWeights()
            folder = pathlib.Path(folder)
            shutil.copytree(world().adapters / "beta", folder, dirs_exist_ok=True)
            weights = folder / "adapter_model.safetensors"
            whole = weights.read_bytes()
            stop = threading.Event()

            def meddle():
                for step in itertools.cycle(range(4)):
                    if stop.is_set():
                        return
                    with contextlib.suppress(FileNotFoundError):
                        if step == 0:
                            os.truncate(weights, len(whole) // 2)
                        elif step == 1:
                            weights.write_bytes(bytes(len(whole)))
                        elif step == 2:
                            weights.unlink()
                    if step == 3:
                        weights.write_bytes(whole)
                    time.sleep(0.001)  # so that each state is met

            meddler = threading.Thread(target=meddle)
            meddler.start()
            outcomes = set()
            for i in range(150):
                try:
                    client.admin.LoadAdapter(name=f"changing{i}", path=folder.name)
                    outcomes.add("loaded")
                    client.inference.Generate(prompt=PROMPT, adapter=select(f"changing{i}"), stop=SHORT)
                except grpc.RpcError as error:
                    outcomes.add(error.code())
                    self.assertIn(error.code(), (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.DATA_LOSS, Code.FAILED_PRECONDITION),
                                  error.details())
                with contextlib.suppress(grpc.RpcError):
                    client.admin.UnloadAdapter(name=f"changing{i}")
            stop.set()
            meddler.join()
            self.assertIn(Code.INVALID_ARGUMENT, outcomes)
            self.check_alive(server, client, expected)
            client.admin.RevertAdapter()
            after = client.admin.VerifyWeights()
            self.assertTrue(after.matches_base)
            self.assertEqual([p.sha256 for p in after.parameters], [p.base_sha256 for p in before.parameters])

    def test_the_model_file_is_not_needed_once_it_is_loaded(self):
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "model"
            shutil.copytree(world().model, model)
            flags = world().flags("alpha")
            flags[flags.index("--model") + 1] = model
            with ServerProcess(*flags) as server:
                client = server.client()
                expected = list(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids)
                for path in model.iterdir():
                    os.truncate(path, 0)
                    path.unlink()
                self.check_alive(server, client, expected)
                client.admin.ApplyAdapter(**select("alpha"))
                client.admin.RevertAdapter()
                self.assertTrue(client.admin.VerifyWeights().matches_base)
                self.check_alive(server, client, expected)

    def test_an_adapter_whose_file_went_bad_on_disk_is_refused_when_it_is_read_again(self):
        # The budget holds few adapters, so the first is read again from its file when it is asked for.
        with world().server("--adapter-memory-mb", 1, adapters=()) as (server, client), \
                tempfile.TemporaryDirectory(dir=world().adapters) as root:
            root = pathlib.Path(root)
            def on_disk(name):
                # Not GetAdapter(), which reads it back.
                adapter = next(a for a in client.admin.ListAdapters(page_size=1000).adapters if a.name == name)
                field = adapter.DESCRIPTOR.fields_by_name["residency"]
                return field.enum_type.values_by_number[adapter.residency].name == "ADAPTER_RESIDENCY_ON_DISK"

            for i in range(1000):
                shutil.copytree(world().adapters / "alpha", root / f"a{i}")
                world().change_values(root / f"a{i}", i)
                client.admin.LoadAdapter(name=f"a{i}", path=f"{root.name}/a{i}")
                if on_disk("a0"):
                    break
            self.assertTrue(on_disk("a0"))
            expected = list(client.inference.Generate(prompt=PROMPT, adapter=select(f"a{i}"), stop=SHORT).token_ids)
            world().change_values(root / "a0", 99)
            with self.assertRaises(grpc.RpcError) as raised:
                client.inference.Generate(prompt=PROMPT, adapter=select("a0"), stop=SHORT)
            self.assertIn(raised.exception.code(), (Code.DATA_LOSS, Code.FAILED_PRECONDITION), raised.exception.details())
            reply = client.inference.Generate(prompt=PROMPT, adapter=select(f"a{i}"), stop=SHORT)
            self.assertEqual(list(reply.token_ids), expected)
            self.assertIsNone(server.process.poll())


class HostileClientsTest(unittest.TestCase):
    def test_clients_that_do_not_read_cost_their_answers_and_nobody_else_anything(self):
        with world().server("--max-running", 8, adapters=()) as (server, client):
            collect(client.stream(prompt=PROMPT, stop=SHORT))
            before = resident_mb(server)
            channels = [server.client() for _ in range(6)]
            idle = [c.stream(prompt=PROMPT, stop={"max_tokens": 1500, "ignore_eos": True}, logprobs=20, timeout=300) for c in channels]
            reply = client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 200, "ignore_eos": True})
            self.assertEqual(len(reply.token_ids), 200)
            # 6 answers of 1500 tokens with 20 alternatives each: 180,000 messages of some 100 bytes in memory.
            self.assertLess(resident_mb(server) - before, 200)
            for stream in idle:
                _, ids, _ = collect(stream)
                self.assertEqual(len(ids), 1500)

    def test_a_flood_is_refused_politely_and_forgotten(self):
        with world().server("--max-running", 4, "--max-queued", 16, adapters=()) as (server, client):
            calls = [client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 60, "ignore_eos": True}, wait=False, timeout=120)
                     for _ in range(400)]
            served = refused = 0
            for call in calls:
                if call.exception() is None:
                    served += 1
                else:
                    code, info, retry, _ = error_of(call.result)
                    self.assertEqual((code, info.reason), (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"))
                    self.assertIsNotNone(retry)
                    refused += 1
                if (served + refused) % 100 == 0:
                    self.assertEqual(client.serving(), "SERVING")
            self.assertGreaterEqual(served, 16)
            self.assertGreater(refused, 100)
            self.assertEqual(len(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), 8)
            self.assertIsNone(server.process.poll())

    def test_half_open_and_garbled_connections_hold_up_nobody(self):
        with world().server(adapters=()) as (server, client), contextlib.ExitStack() as stack:
            address = server.target.split(":")
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            settings = bytes.fromhex("000000040000000000")
            # Nothing, half a preface, a preface without a request, HTTP/1, TLS, noise, and a frame that promises 16 MB.
            openings = [b"", preface[:10], preface + settings, b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("1603010200010001fc0303"),
                        os.urandom(500), preface + settings + bytes.fromhex("ffffff0000000000ff") + b"x" * 100]
            for opening in openings * 30:
                connection = stack.enter_context(socket.create_connection((address[0], int(address[1]))))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(opening)
            for _ in range(5):
                self.assertEqual(len(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), 8)
            self.assertEqual(client.serving(), "SERVING")
            # Nor do they hold up the end.
            server.terminate()
            self.assertEqual(server.wait(20), 0)

    def test_headers_beyond_the_limit_are_refused(self):
        with world().server(adapters=()) as (server, client):
            with self.assertRaises(grpc.RpcError) as raised:
                client.inference.Generate(prompt=PROMPT, stop=SHORT, metadata=[("x-huge", "x" * 1_000_000)])
            self.assertIn(raised.exception.code(), (Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.UNAVAILABLE, Code.CANCELLED))
            self.assertEqual(len(server.client().inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), 8)

    def check_that_memory_is_freed_after(self, signal_number, *flags):
        # Room for one endless generation.
        with world().server("--kv-cache-mb", 10, *flags, adapters=()) as (server, client):
            program = (
                "import sys; sys.path.insert(0, sys.argv[1])\n"
                "from server_process import Client\n"
                "client = Client(sys.argv[2])\n"
                "stream = client.stream(prompt='x', request_id='of-the-lost', stop={'max_tokens': 15000, 'ignore_eos': True})\n"
                "next(stream); print('started', flush=True)\n"
                "for _ in stream: pass\n")
            child = subprocess.Popen([sys.executable, "-c", program, str(pathlib.Path(__file__).parent), server.target],
                                     stdout=subprocess.PIPE, text=True)
            self.addCleanup(child.stdout.close)
            self.assertEqual(child.stdout.readline(), "started\n")
            child.send_signal(signal_number)
            stream = client.stream(prompt=PROMPT, stop=ENDLESS, timeout=60)
            next(stream)
            stream.cancel()
            # It did not simply come to its end.
            wait_for(lambda: any("of-the-lost" in line and "CANCELLED" in line for line in server.log().splitlines()), "it is cancelled")
            child.kill()
            child.wait()

    def test_a_client_that_is_killed_frees_its_memory(self):
        self.check_that_memory_is_freed_after(signal.SIGKILL)

    def test_a_connection_that_nobody_is_at_the_other_end_of_is_closed(self):
        # A stopped process: its machine still acknowledges what it gets, as a proxy would, but it answers nothing. It neither
        # reads, so that its generation would wait for it without end.
        self.check_that_memory_is_freed_after(signal.SIGSTOP, "--keepalive", 1)


class ClockTest(unittest.TestCase):
    """The wall clock is set while the server runs; the monotonic one goes on, as on a real machine."""

    LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

    def setUp(self):
        self.offset = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "offset"
        self.set_clock("+0")
        environment = {"LD_PRELOAD": self.LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.offset), "FAKETIME_NO_CACHE": "1",
                       "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        self.server = self.enterContext(ServerProcess(*world().flags("alpha"), environment=environment))
        self.client = self.server.client()

    def set_clock(self, offset):
        replacement = self.offset.with_suffix(".new")
        replacement.write_text(offset)
        replacement.rename(self.offset)

    def test_a_deadline_is_a_duration_whatever_the_clock_is_set_to(self):
        for offset in ("+3h", "-3h"):
            stream = self.client.stream(prompt=PROMPT, stop={"max_tokens": 400, "ignore_eos": True}, timeout=120)
            next(stream)
            self.set_clock(offset)
            _, ids, summary = collect(stream)
            self.assertEqual(summary.usage.completion_tokens, 400)
            self.assertLess(summary.timings.decode.seconds, 120)
            start = time.monotonic()
            with self.assertRaises(grpc.RpcError) as raised:
                collect(self.client.stream(prompt=PROMPT, stop=ENDLESS, timeout=1))
            self.assertEqual(raised.exception.code(), Code.DEADLINE_EXCEEDED)
            self.assertLess(time.monotonic() - start, 20)
            # The kernel's own clock is not the one that was set: a wait by the wall clock would end at once, or hours too late.
            self.client.admin.ApplyAdapter(**select("alpha"))
            self.client.admin.RevertAdapter()
            self.assertTrue(self.client.admin.VerifyWeights().matches_base)
            user = self.client.stream(prompt=PROMPT, adapter=select("alpha"), stop=ENDLESS)
            next(user)
            start = time.monotonic()
            with self.assertRaises(grpc.RpcError) as raised:
                self.client.admin.UnloadAdapter(name="alpha", request_timeout={"seconds": 2})
            self.assertIn("still used", raised.exception.details())
            self.assertTrue(1.5 < time.monotonic() - start < 20, time.monotonic() - start)
            user.cancel()

    def test_a_drain_takes_its_time_whatever_the_clock_is_set_to(self):
        stream = self.client.stream(prompt=PROMPT, stop={"max_tokens": 1500, "ignore_eos": True})
        next(stream)
        self.server.terminate()
        self.set_clock("+1d")
        _, _, summary = collect(stream)
        self.assertEqual(summary.usage.completion_tokens, 1500)
        self.assertEqual(self.server.wait(), 0)


if __name__ == "__main__":
    unittest.main()
