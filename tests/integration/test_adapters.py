"""The adapter life cycle through the real server, with PEFT as the oracle for the weights."""

import pathlib
import tempfile
import threading
import time
import unittest

import grpc
import torch
from peft import ShiraConfig, get_peft_model

from fixtures import ADAPTERS, PROMPT, select, world
from server_process import collect, error_of

COUNT = 24
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}
# Longer than any test waits.
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}


def hashes_of(reply):
    return {p.name: p.sha256 for p in reply.parameters}


class EmbeddingsTest(unittest.TestCase):
    """What PEFT saves when it is told to save the embeddings, which nobody trained."""

    def save(self, **config):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        model = get_peft_model(world().base(), ShiraConfig(r=2, random_seed=1, init_weights=False, **config))
        model.save_pretrained(root / "adapter", save_embedding_layers=True)
        return root

    def test_embeddings_that_equal_the_base_are_no_part_of_the_adapter(self):
        root = self.save(target_modules=["q_proj"])
        for dtype in ("float32", "bfloat16"):
            with world().server("--adapter-root", root, adapters=(), dtype=dtype) as (_, client):
                adapter = client.admin.LoadAdapter(name="a", path=str(root / "adapter")).adapter
                self.assertEqual(adapter.entries, 2 * 2 * (64 + 64))  # two layers' q_proj

    def test_an_adapted_output_matrix_fits_no_tied_base(self):
        root = self.save(target_modules=["lm_head", "q_proj"])
        with world().server("--adapter-root", root, adapters=()) as (_, client):
            code, _, _, message = error_of(lambda: client.admin.LoadAdapter(name="a", path=str(root / "adapter")))
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn("lm_head.weight: it cannot be changed alone, because the model uses model.embed_tokens.weight", message)


class WeightsTest(unittest.TestCase):
    def check(self, dtype_name, dtype):
        with world().server(dtype=dtype_name) as (_, client):
            base = client.admin.VerifyWeights()
            self.assertTrue(base.matches_base and base.matches_expected)
            self.assertEqual(hashes_of(base), world().merged_hashes(None, dtype))
            for name in (*ADAPTERS, "alpha"):
                client.admin.ApplyAdapter(**select(name))
                report = client.admin.VerifyWeights()
                self.assertEqual(hashes_of(report), world().merged_hashes(name, dtype), name)
                self.assertEqual([a.name for a in report.state.adapters], [name])
                self.assertTrue(report.matches_expected and not report.matches_base)
            # Generations switch too, and leave no trace.
            for name in ("beta", "gamma", "alpha"):
                client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(name))
            client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(alpha=0.3, gamma=2.0))
            client.admin.RevertAdapter()
            self.assertEqual(client.admin.VerifyWeights().parameters, base.parameters)

    def test_resident_bytes_equal_peft_merge_in_float32(self):
        self.check("float32", torch.float32)

    def test_resident_bytes_equal_peft_merge_in_bfloat16(self):
        self.check("bfloat16", torch.bfloat16)


class LifeCycleTest(unittest.TestCase):
    def setUp(self):
        self.world = world()
        _, self.client = self.enterContext(self.world.server(adapters=("alpha",)))
        self.admin = self.client.admin

    def test_an_adapter_is_loaded_used_and_unloaded_at_run_time(self):
        loaded = self.admin.LoadAdapter(name="tone", path="beta")
        self.assertFalse(loaded.already_loaded)
        self.assertEqual((loaded.adapter.name, loaded.adapter.version), ("tone", 1))
        self.assertEqual(loaded.adapter.format, "peft_shira")
        self.assertEqual(loaded.adapter.parameter_count, 14)
        self.assertGreater(loaded.adapter.entries, 0)
        self.assertAlmostEqual(loaded.adapter.density,
                               loaded.adapter.entries / self.client.inference.GetModel().parameter_count)
        again = self.admin.LoadAdapter(name="tone", path=str(self.world.adapters / "beta"),
                                       expected_sha256=loaded.adapter.sha256)
        self.assertTrue(again.already_loaded)

        reply = self.client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select("tone"))
        self.assertEqual(list(reply.token_ids), self.world.greedy("beta", COUNT))
        self.assertEqual(reply.summary.adapter[0].sha256, loaded.adapter.sha256)

        got = self.admin.GetAdapter(name="tone")
        self.assertEqual(len(got.parameters), 14)
        self.assertEqual(sum(p.entries for p in got.parameters), loaded.adapter.entries)
        self.assertTrue(all(p.norm > 0 and p.rows > 0 and p.cols > 0 for p in got.parameters))
        self.assertTrue(got.adapter.HasField("last_use_time"))

        self.admin.UnloadAdapter(name="tone")
        self.assertEqual([a.name for a in self.admin.ListAdapters().adapters], ["alpha"])
        code, info, _, _ = error_of(
            lambda: self.client.inference.Generate(prompt=PROMPT, adapter=select("tone")))
        self.assertEqual((code, info.reason, info.metadata["name"]),
                         (grpc.StatusCode.NOT_FOUND, "ADAPTER_NOT_FOUND", "tone"))
        # The weights were in its state: unloading has taken it out of them.
        self.assertFalse(self.admin.GetResidentState().resident.adapters)

    def test_adapters_are_listed_in_pages(self):
        for name in ("b/1", "b/2", "zeta"):
            self.admin.LoadAdapter(name=name, path="beta")
        names, token = [], ""
        while True:
            page = self.admin.ListAdapters(page_size=3, page_token=token)
            names += [a.name for a in page.adapters]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(names, ["alpha", "b/1", "b/2", "zeta"])

    def test_the_default_state_is_applied_and_reverted(self):
        ask = lambda **fields: list(self.client.inference.Generate(prompt=PROMPT, stop=PLAIN, **fields).token_ids)
        self.assertEqual(ask(), self.world.greedy(None, COUNT))
        applied = self.admin.ApplyAdapter(**select("alpha"))
        self.assertEqual([a.name for a in applied.state.adapters], ["alpha"])
        self.assertGreater(applied.written, 0)
        self.assertEqual(ask(), self.world.greedy("alpha", COUNT))
        self.assertEqual(ask(adapter=select()), self.world.greedy(None, COUNT))
        self.assertEqual(ask(adapter=select("base")), self.world.greedy(None, COUNT))
        state = self.admin.GetResidentState()
        self.assertEqual(state.default_state.sha256, applied.state.sha256)
        self.assertNotEqual(state.resident.sha256, applied.state.sha256)
        self.assertGreater(state.switches, 0)
        code, info, _, _ = error_of(lambda: self.admin.UnloadAdapter(name="alpha"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_IS_DEFAULT"))
        self.admin.RevertAdapter()
        self.assertEqual(ask(), self.world.greedy(None, COUNT))
        self.admin.UnloadAdapter(name="alpha")

    def test_a_failed_apply_leaves_the_default_alone(self):
        self.admin.ApplyAdapter(**select("alpha"))
        before = self.admin.GetResidentState()
        code, info, _, _ = error_of(lambda: self.admin.ApplyAdapter(**select("alpha", "missing")))
        self.assertEqual((code, info.metadata["name"]), (grpc.StatusCode.NOT_FOUND, "missing"))
        self.assertEqual(self.admin.GetResidentState(), before)

    def long_stream(self):
        stream = self.client.stream(prompt=PROMPT, stop=ENDLESS, adapter=select("alpha"))
        next(stream)
        return stream

    def test_unloading_times_out_while_the_adapter_is_in_use(self):
        stream = self.long_stream()
        start = time.monotonic()
        code, info, _, _ = error_of(lambda: self.admin.UnloadAdapter(name="alpha", request_timeout={"nanos": 300_000_000}))
        self.assertEqual((code, info.reason), (grpc.StatusCode.DEADLINE_EXCEEDED, "ADAPTER_IN_USE"))
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(self.admin.GetAdapter(name="alpha").adapter.running_requests, 1)
        next(stream)  # undisturbed
        stream.cancel()

    def test_unloading_waits_for_running_requests(self):
        stream = self.client.stream(prompt=PROMPT, stop={"max_tokens": 1000, "ignore_eos": True},
                                    adapter=select("alpha"))
        next(stream)
        unloaded = threading.Thread(target=lambda: self.admin.UnloadAdapter(name="alpha"))
        unloaded.start()
        self.assertEqual(len(collect(stream)[1]) >= 990, True)
        unloaded.join(20)
        self.assertFalse(unloaded.is_alive())
        self.assertFalse(self.admin.ListAdapters().adapters)

    def test_unloading_cancels_running_requests_when_told_to(self):
        stream = self.long_stream()
        self.admin.UnloadAdapter(name="alpha", cancel_running=True)
        code, _, _, _ = error_of(lambda: list(stream))
        self.assertEqual(code, grpc.StatusCode.CANCELLED)
        self.assertFalse(self.admin.ListAdapters().adapters)
