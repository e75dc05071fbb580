"""Cancellation, deadlines, health, drain and signals of the real server."""

import signal
import socket
import time
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fixtures import PROMPT, world
from server_process import ServerProcess, collect, error_of

SERVICES = ("", "shira.v1.Inference", "shira.v1.AdapterAdmin")
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}
Code = grpc.StatusCode


class CancellationTest(unittest.TestCase):
    def setUp(self):
        # Room for one endless generation: the next is only answered once its memory is free again.
        _, self.client = self.enterContext(world().server("--kv-cache-mb", 10, adapters=()))

    def check_memory_is_free(self):
        start = time.monotonic()
        stream = self.client.stream(prompt=PROMPT, stop=ENDLESS)
        next(stream)
        stream.cancel()
        self.assertLess(time.monotonic() - start, 5)

    def test_a_cancelled_stream_stops_and_frees_its_memory(self):
        stream = self.client.stream(prompt=PROMPT, stop=ENDLESS)
        next(stream)
        stream.cancel()
        self.check_memory_is_free()

    def test_a_unary_call_stops_too(self):
        call = self.client.inference.Generate(prompt=PROMPT, stop=ENDLESS, wait=False)
        time.sleep(0.3)
        call.cancel()
        self.check_memory_is_free()

    def test_a_deadline_ends_the_generation(self):
        start = time.monotonic()
        with self.assertRaises(grpc.RpcError) as raised:
            list(self.client.stream(prompt=PROMPT, stop=ENDLESS, timeout=0.5))
        self.assertEqual(raised.exception.code(), Code.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - start, 3)
        self.check_memory_is_free()

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        idle = self.client.stream(prompt=PROMPT, stop={"max_tokens": 4000, "ignore_eos": True}, timeout=120)
        reply = self.client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 50, "ignore_eos": True})
        self.assertEqual(len(reply.token_ids), 50)
        _, ids, summary = collect(idle)
        self.assertEqual(len(ids), summary.usage.completion_tokens)


def wait_until_open(address):
    host, port = address.split(":")
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class HealthTest(unittest.TestCase):
    def test_every_service_is_serving_after_loading(self):
        with world().server(adapters=()) as (_, client):
            self.assertEqual([client.serving(s) for s in SERVICES], ["SERVING"] * 3)

    def test_the_port_answers_while_the_server_is_loading(self):
        # A fixed port, since the port file comes last. Many adapters make the loading long enough to be seen.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{probe.getsockname()[1]}"
        adapters = {f"a{i}": world().adapters / "alpha" for i in range(1500)}
        flags = world().flags() + [f"--adapter={name}={path}" for name, path in adapters.items()]
        with ServerProcess(*flags, listen=listen, wait=False) as server:
            wait_until_open(listen)  # a channel that came too early would wait a second before it tries again
            with grpc.insecure_channel(listen) as channel:
                first = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            self.assertEqual(first.status, health_pb2.HealthCheckResponse.NOT_SERVING)
            self.assertFalse(server.port_file.exists())
            server.wait_until_serving()
            client = server.client()
            self.assertEqual(client.serving(), "SERVING")
            self.assertEqual(len(client.admin.ListAdapters(page_size=1000).adapters), 1000)


class DrainTest(unittest.TestCase):
    def test_sigterm_lets_running_streams_end_and_refuses_new_calls(self):
        with world().server(adapters=()) as (server, client):
            watch = client.health.Watch(health_pb2.HealthCheckRequest())
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
            stream = client.stream(prompt=PROMPT, stop={"max_tokens": 1500, "ignore_eos": True})
            next(stream)
            server.terminate()
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
            self.assertEqual([client.serving(s) for s in SERVICES], ["NOT_SERVING"] * 3)
            code, info, _, _ = error_of(lambda: client.inference.Generate(prompt=PROMPT))
            self.assertEqual((code, info.reason), (Code.UNAVAILABLE, "SERVER_DRAINING"))
            code, info, _, _ = error_of(lambda: client.admin.ListAdapters())
            self.assertEqual((code, info.reason), (Code.UNAVAILABLE, "SERVER_DRAINING"))
            _, _, summary = collect(stream)
            self.assertEqual(summary.usage.completion_tokens, 1500)
            self.assertEqual(server.wait(), 0)
            self.assertFalse(server.port_file.exists())

    def test_the_drain_timeout_ends_what_is_still_running(self):
        with world().server("--drain-timeout", 0.3, adapters=()) as (server, client):
            stream = client.stream(prompt=PROMPT, stop=ENDLESS)
            next(stream)
            start = time.monotonic()
            server.terminate()
            code, info, _, _ = error_of(lambda: list(stream))
            self.assertEqual((code, info.reason), (Code.UNAVAILABLE, "SERVER_DRAINING"))
            self.assertEqual(server.wait(), 0)
            self.assertLess(time.monotonic() - start, 10)

    def test_an_idle_server_goes_on_refusing_calls_for_the_drain_delay(self):
        with world().server("--drain-delay", 1.5, adapters=()) as (server, client):
            start = time.monotonic()
            server.terminate()
            while client.serving() == "SERVING":
                self.assertLess(time.monotonic() - start, 1)
            while time.monotonic() - start < 1.2:
                code, info, _, _ = error_of(lambda: client.inference.Generate(prompt=PROMPT))
                self.assertEqual((code, info.reason), (Code.UNAVAILABLE, "SERVER_DRAINING"))
            self.assertEqual(server.wait(), 0)
            self.assertGreaterEqual(time.monotonic() - start, 1.5)

    def test_a_second_signal_ends_at_once(self):
        for second in (signal.SIGINT, signal.SIGTERM):
            with world().server(adapters=()) as (server, client):
                stream = client.stream(prompt=PROMPT, stop=ENDLESS)
                next(stream)
                watch = client.health.Watch(health_pb2.HealthCheckRequest())
                self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
                server.terminate()
                self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
                server.process.send_signal(second)
                self.assertEqual(server.wait(5), 128 + second)

    def test_an_idle_server_ends_quickly(self):
        with world().server(adapters=()) as (server, _):
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(10), 0)


class AddressTest(unittest.TestCase):
    def test_a_unix_socket_is_an_address(self):
        with ServerProcess(*world().flags(), listen=f"unix:{world().model}/socket") as server:
            self.assertTrue(server.target.startswith("unix:"))
            self.assertEqual(server.client().serving(), "SERVING")

    def test_a_second_server_on_the_same_port_is_refused(self):
        with world().server(adapters=()) as (server, _):
            with ServerProcess(*world().flags(), listen=server.target, wait=False) as second:
                self.assertEqual(second.wait(), 1)
                self.assertIn("cannot listen on", second.log())

    def test_logs_never_hold_prompts_or_answers(self):
        with world().server(adapters=()) as (server, client):
            reply = client.inference.Generate(prompt="SECRETPROMPT", stop={"max_tokens": 30, "ignore_eos": True},
                                              request_id="the-request")
            error_of(lambda: client.inference.Generate(prompt="SECRETPROMPT", logprobs=99))
            error_of(lambda: client.inference.Generate(prompt="x", request_id="a\nFORGED"))
            error_of(lambda: client.admin.LoadAdapter(name="a\nFORGED", path="a\nFORGED"))
            server.terminate()
            server.wait()
            log = server.log()
            self.assertIn("the-request", log)
            self.assertNotIn("SECRETPROMPT", log)
            self.assertNotIn(reply.text, log)
            self.assertNotRegex(log, "(?m)^FORGED")
