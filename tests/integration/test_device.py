"""What computes: LibTorch on a device, here the CPU, with the same tokens, switches and proofs; our kernels with other products."""

import os
import subprocess
import unittest

import shira_testutil

from fixtures import ADAPTERS, PROMPT, select, world
from server_process import collect

COUNT = 24
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}


class DeviceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world()
        cls.server, cls.client = cls.enterClassContext(cls.world.server("--device", "cpu"))

    def test_greedy_tokens_equal_transformers_with_the_adapter_merged_by_peft(self):
        for name in (None, *ADAPTERS):
            reply = self.client.inference.Generate(
                prompt=PROMPT, stop=PLAIN, adapter=select(name) if name else select())
            self.assertEqual(list(reply.token_ids), self.world.greedy(name, COUNT), name)

    def test_streams_of_several_adapters_take_turns(self):
        names = [None, "alpha", "beta", "gamma"] * 4
        streams = [self.client.stream(prompt=PROMPT, stop=PLAIN, adapter=select(n) if n else select()) for n in names]
        for name, stream in zip(names, streams):
            self.assertEqual(collect(stream)[1], self.world.greedy(name, COUNT), name)

    def test_switches_are_proven_and_undone(self):
        self.client.admin.RevertAdapter()
        self.assertTrue(self.client.admin.VerifyWeights().matches_base)
        for adapter in ("alpha", "beta"):
            written = self.client.admin.ApplyAdapter(adapters=[{"name": adapter}]).written
            self.assertGreater(written, 0)
            applied = self.client.admin.VerifyWeights()
            self.assertTrue(applied.matches_expected)
            self.assertFalse(applied.matches_base)
        self.client.admin.RevertAdapter()
        self.assertTrue(self.client.admin.VerifyWeights().matches_base)

    def test_a_device_that_is_not_there_is_refused_before_anything_is_read(self):
        for device, says in (("gpu", "'gpu'"), ("cuda:100", "SHIRA_LIBTORCH")):
            result = subprocess.run(
                [shira_testutil.binary("shira-server"), *map(str, self.world.flags()), "--device", device,
                 "--listen", "127.0.0.1:0"],
                capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(says, result.stderr)


class ProductsTest(unittest.TestCase):
    def test_adapters_are_served_with_every_kind_of_products(self):
        for products in ("fp32", "AMX emulated"):
            environment = {"SHIRA_BF16_PRODUCTS": products}
            with world().server(dtype="bfloat16", environment=environment) as (server, client):
                self.assertIn(f"products of bfloat16 by {products}", server.log())
                alone = [self.tokens(client, name) for name in ADAPTERS]
                streams = [client.stream(prompt=PROMPT, stop=PLAIN, adapter=select(name)) for name in ADAPTERS]
                self.assertEqual([collect(stream)[1] for stream in streams], alone, products)

    @staticmethod
    def tokens(client, adapter):
        return list(client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(adapter)).token_ids)

    def test_products_that_are_not_known_are_refused(self):
        result = subprocess.run(
            [shira_testutil.binary("shira-server"), *map(str, world().flags()), "--listen", "127.0.0.1:0"],
            env={**os.environ, "SHIRA_BF16_PRODUCTS": "amx"}, capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("SHIRA_BF16_PRODUCTS: expected one of fp32, AVX-512 BF16, AMX, AMX emulated, found 'amx'", result.stderr)
