"""How the server is reached and how it ends, as its surroundings see it: sockets, signals, a log that nobody reads, TLS at one end only."""

import fcntl
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import grpc
import shira_testutil
from certificates import Authority

import raw_http2
from fixtures import PROMPT, world
from scraping import free_port, scrape, value
from server_process import ServerProcess, open_channel

Code = grpc.StatusCode
SHORT = {"max_tokens": 2, "ignore_eos": True}


class ConnectionsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)


class UnixSocketTest(ConnectionsTest):
    def test_a_socket_in_use_is_refused_and_one_of_a_dead_server_is_taken_over(self):
        address = f"unix:{self.folder}/socket"
        with ServerProcess(*world().flags(), listen=address) as first:
            second = shira_testutil.run_binary("shira-server", *world().flags(), "--listen", address, check=False)
            self.assertEqual(second.returncode, 1)
            self.assertIn(f"cannot listen on {address}: {self.folder}/socket: is in use", second.stderr)
            self.assertEqual(len(first.client().inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), 2)
            first.kill()
        self.assertTrue((self.folder / "socket").is_socket())
        with ServerProcess(*world().flags(), listen=address) as third:
            self.assertEqual(third.client().serving(), "SERVING")
            third.terminate()
            self.assertEqual(third.wait(), 0)
        self.assertFalse((self.folder / "socket").exists())


class MessagesTest(ConnectionsTest):
    def test_large_requests_that_do_not_go_on_take_their_share_and_no_more(self):
        port, mib = free_port(), 1 << 20
        with ServerProcess(*world().flags(), "--message-memory-mb", 64, "--metrics-listen", f"127.0.0.1:{port}") as server:
            before = server.resident_bytes()
            held = [raw_http2.Connection(server.target) for _ in range(12)]
            for connection in held:
                connection.call(1, "/shira.v1.Inference/Generate", message=b"\0" * 8192, says=15 * mib)
            refused = lambda: value(scrape(port), "shira_messages_refused_total")
            self.wait_for(lambda: refused() == 9, "three large ones have room")
            self.assertEqual(value(scrape(port), "shira_message_bytes"), 45 * mib)
            self.assertLess(server.resident_bytes() - before, 16 * mib)
            # Small requests find room, large ones are told to come back; the connection stays.
            client = server.client()
            self.assertEqual(len(client.inference.Generate(prompt=PROMPT, stop=SHORT).token_ids), 2)
            with self.assertRaises(grpc.RpcError) as error:
                client.inference.Tokenize(text="x" * 4 * mib)
            self.assertEqual(error.exception.code(), Code.RESOURCE_EXHAUSTED)
            self.assertIn("try again later", error.exception.details())
            for connection in held:
                connection.__exit__()
            self.wait_for(lambda: value(scrape(port), "shira_message_bytes") == 0, "what they held is free")
            self.assertGreater(len(client.inference.Tokenize(text="x" * mib).ids), 0)


class SignalTest(ConnectionsTest):
    def test_sighup_reads_the_access_file_again_and_ends_nothing(self):
        access = self.folder / "access"
        access.write_text("inference web the-token-of-before\n")
        with ServerProcess(*world().flags(), "--access-file", access, "--reload-interval", 3600) as server:
            def code(token):
                try:
                    open_channel(server.target, token=token).unary_unary("/shira.v1.Inference/GetModel")(b"", timeout=10)
                    return Code.OK
                except grpc.RpcError as error:
                    return error.code()

            self.assertEqual(code("the-token-of-before"), Code.OK)
            access.write_text("inference web the-token-of-after\n")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(lambda: code("the-token-of-after") == Code.OK, "the new token counts")
            self.assertEqual(code("the-token-of-before"), Code.UNAUTHENTICATED)
            access.write_text("inference web\n")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(lambda: "reload: failed, and what was read before stays in force" in server.log(), "a bad file is logged")
            self.assertEqual(code("the-token-of-after"), Code.OK)
            server.terminate()
            self.assertEqual(server.wait(), 0)


class LogTest(ConnectionsTest):
    def test_a_server_whose_log_nobody_reads_serves_and_ends(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        port_file = self.folder / "port"
        process = subprocess.Popen(
            [shira_testutil.binary("shira-server"), *map(str, world().flags()), "--listen", "127.0.0.1:0", "--port-file",
             port_file, "--log-level", "debug", "--drain-delay", "0"], stderr=write)
        os.close(write)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for(port_file.exists, "it serves")
        channel = open_channel(f"127.0.0.1:{port_file.read_text().strip()}")
        model = channel.unary_unary("/shira.v1.Inference/GetModel")
        for _ in range(100):  # more than a pipe of one page holds
            model(b"", timeout=10)
        process.terminate()
        self.assertEqual(process.wait(60), 0)


class TlsTest(ConnectionsTest):
    def model(self, server, *flags):
        return shira_testutil.run_binary("shira", "model", "--server", server.target, "--connect-timeout", "1", *flags, check=False)

    def test_the_command_line_says_when_only_one_end_speaks_tls(self):
        authority = Authority(self.folder)
        certificate, key = authority.issue("server")
        with ServerProcess(*world().flags(), "--tls-cert", certificate, "--tls-key", key) as server:
            result = self.model(server)
            self.assertEqual(result.returncode, 3)
            self.assertIn("the server speaks TLS, and this client does not: pass --tls-ca FILE", result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)  # nothing of gRPC's own
            self.assertEqual(self.model(server, "--tls-ca", authority.certificate).returncode, 0)
            result = self.model(server, "--tls-ca", Authority(self.folder, "stranger").certificate)
            self.assertIn("does not trust the server's certificate", result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        with ServerProcess(*world().flags()) as server:
            result = self.model(server, "--tls-ca", authority.certificate)
            self.assertEqual(result.returncode, 3)
            self.assertIn("the server does not speak TLS: leave out --tls", result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)


if __name__ == "__main__":
    unittest.main()
