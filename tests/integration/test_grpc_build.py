"""Which gRPC the server runs on, and what the fixes in it change for inputs that hurt nobody."""

import os
import pathlib
import resource
import socket
import time
import unittest

import shira_testutil
from grpc_health.v1 import health_pb2

import raw_http2
from fixtures import world
from server_process import Client

# In the headers of an answer that is a status alone: grpc-status 8 as a literal.
EXHAUSTED = b"grpc-status\x018"
PATCHES = pathlib.Path(__file__).parents[2] / "cmake" / "patches"


def grpc_line():
    return shira_testutil.run_binary("shira-server", "--version").stdout.splitlines()[1]


class VersionTest(unittest.TestCase):
    def test_names_every_fix(self):
        if grpc_line().endswith("without fixes of ours"):
            self.skipTest("this build links the system's gRPC")
        fixes = ", ".join(sorted(path.stem for path in PATCHES.glob("*.patch")))
        self.assertRegex(grpc_line(), rf"^gRPC \d+\.\d+\.\d+ with fixes for {fixes}$")


@unittest.skipIf("without fixes of ours" in grpc_line(), "this build links the system's gRPC")
class FixesTest(unittest.TestCase):
    def setUp(self):
        self.server, self.client = self.enterContext(world().server(adapters=()))

    def test_a_server_that_ran_out_of_descriptors_accepts_again(self):
        pid = self.server.process.pid
        in_use = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        next_free = next(number for number in range(len(in_use) + 1) if number not in in_use)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (next_free, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        try:
            host, port = self.server.target.split(":")
            with socket.create_connection((host, int(port)), timeout=10):
                time.sleep(0.3)  # the server tries to accept it, and cannot
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(Client(self.server.target, services=()).serving(), "SERVING")

    def test_a_call_with_too_much_metadata_fails_alone(self):
        check = health_pb2.HealthCheckRequest().SerializeToString()
        with raw_http2.Connection(self.server.target) as connection:
            connection.call(1, "/grpc.health.v1.Health/Watch", check)
            connection.wait_for(raw_http2.DATA, 1)
            connection.call(3, "/grpc.health.v1.Health/Check", check, [("x-long", "a" * 100_000)])
            self.assertIn(EXHAUSTED, connection.wait_for(raw_http2.HEADERS, 3))
            connection.call(5, "/grpc.health.v1.Health/Check", check)
            self.assertEqual(connection.wait_for(raw_http2.DATA, 5)[5:],
                             health_pb2.HealthCheckResponse(status="SERVING").SerializeToString())

    def test_metadata_counts_in_all_frames_together(self):
        check = health_pb2.HealthCheckRequest().SerializeToString()
        with raw_http2.Connection(self.server.target) as connection:
            for stream, count in ((1, 10), (3, 1000)):
                connection.call(stream, "/grpc.health.v1.Health/Check", check,
                                [(f"x-{number}", "a" * 100) for number in range(count)])
                is_exhausted = EXHAUSTED in connection.wait_for(raw_http2.HEADERS, stream)
                self.assertEqual(is_exhausted, count == 1000)


if __name__ == "__main__":
    unittest.main()
