"""A server whose memory is damaged from outside: what it says of itself."""

import re
import subprocess
import time
import unittest

import shira_testutil
from shira_testutil import tensor_bytes

from fixtures import PROMPT, select, world

PARAMETER = "model.layers.1.mlp.down_proj.weight"
LARGEST_MAPPING = 1 << 32  # a larger one is a sanitizer's own


def find_in_memory(pid, pattern):
    """The addresses at which the process has these bytes in memory that it can write."""
    addresses = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            begin, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not mode.startswith("rw") or int(end, 16) - int(begin, 16) > LARGEST_MAPPING:
                continue
            try:
                memory.seek(int(begin, 16))
                content = memory.read(int(end, 16) - int(begin, 16))
            except OSError:
                continue  # not all of it can be read
            at = content.find(pattern)
            while at >= 0:
                addresses.append(int(begin, 16) + at)
                at = content.find(pattern, at + 1)
    return addresses


def flip_bit(pid, address):
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        byte = memory.read(1)[0]
        memory.seek(address)
        memory.write(bytes([byte ^ 1]))


class WeightGuardTest(unittest.TestCase):
    def damaged_server(self, *flags):
        server, client = self.enterContext(world().server(*flags, adapters=("alpha",)))
        pattern = tensor_bytes(dict(world().base().named_parameters())[PARAMETER])
        try:
            addresses = find_in_memory(server.process.pid, pattern)
        except PermissionError:
            self.skipTest("this machine lets nobody look into a process")
        self.assertEqual(len(addresses), 1)
        return server, client, addresses[0] + 4 * 77

    def wait_until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_the_background_check_finds_damage_and_health_says_so(self):
        server, client, address = self.damaged_server("--verify-interval", "0.2")
        self.wait_until(lambda: client.admin.GetResidentState().HasField("last_verified"))
        for name in ("alpha", None, "alpha"):  # switches are no damage
            client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 4}, adapter=select(*([name] if name else [])))
        self.assertEqual(client.serving(), "SERVING")
        self.assertEqual(list(client.admin.GetResidentState().damaged_parameters), [])

        flip_bit(server.process.pid, address)
        self.wait_until(lambda: client.serving() == "NOT_SERVING")
        self.assertEqual(list(client.admin.GetResidentState().damaged_parameters), [PARAMETER])
        self.assertIn(f"damaged in {PARAMETER}", server.log())
        shown = subprocess.run([shira_testutil.binary("shira"), "status", "--server", server.target],
                               capture_output=True, text=True)
        self.assertEqual(shown.returncode, 3)
        self.assertIn(PARAMETER, shown.stdout)

        # Put right again, a check on demand clears it.
        flip_bit(server.process.pid, address)
        self.assertTrue(client.admin.VerifyWeights().matches_expected)
        self.wait_until(lambda: client.serving() == "SERVING")
        self.assertEqual(list(client.admin.GetResidentState().damaged_parameters), [])

    def test_a_check_on_demand_counts_too(self):
        server, client, address = self.damaged_server()
        self.assertFalse(client.admin.GetResidentState().HasField("last_verified"))
        flip_bit(server.process.pid, address)
        self.assertFalse(client.admin.VerifyWeights().matches_expected)
        self.assertEqual(client.serving(), "NOT_SERVING")
        self.assertEqual(list(client.admin.GetResidentState().damaged_parameters), [PARAMETER])
        server.terminate()
        self.assertEqual(server.wait(), 0)
