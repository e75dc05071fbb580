"""A model of which two layers in three have windows: memory for the windows alone, and the same answers."""

import pathlib
import tempfile
import time
import unittest

import torch
from shira_testutil import make_tiny_model

from scraping import free_port, scrape, value
from server_process import ServerProcess

WINDOW, STEP, PAGE = 20, 64, 32
SLIDING, FULL = "sliding_attention", "full_attention"


class WindowsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.model = make_tiny_model(cls.folder, "gemma3_text", num_hidden_layers=3, layer_types=[SLIDING, FULL, SLIDING],
                                    sliding_window=WINDOW, max_position_embeddings=16384)

    def serve(self):
        self.port = free_port()
        server = self.enterContext(ServerProcess(
            "--model", self.folder, "--dtype", "float32", "--threads", 1, "--kv-cache-mb", 1, "--step-tokens", STEP,
            "--metrics-listen", self.port))
        return server.client().inference

    @staticmethod
    def ids(seed, count):
        return torch.randint(3, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()

    def answer(self, ids, count):
        """What transformers generates."""
        found = self.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=count, eos_token_id=None,
                                    pad_token_id=0)
        return found[0, len(ids):].tolist()

    @staticmethod
    def generate(inference, ids, count, **options):
        return inference.Generate(token_ids={"ids": ids}, stop={"max_tokens": count, "ignore_eos": True}, **options)

    def test_the_context_is_what_memory_holds_of_layers_without_windows(self):
        inference = self.serve()
        pages = (1 << 20) // (PAGE * 2 * 2 * 16 * 4)  # of one layer: keys and values of 2 heads of 16 floats
        window = -(-(WINDOW + STEP + 64 + 2 * PAGE - 3) // PAGE)
        self.assertEqual(inference.GetModel().context_length, (pages - 2 * window) * PAGE)
        ids = self.ids(1, 3000)  # more than would fit if all layers kept all
        self.assertGreater(3 * 3000, pages * PAGE)
        self.assertEqual(list(self.generate(inference, ids, 24).token_ids), self.answer(ids, 24))

    def test_prompts_that_share_a_beginning_are_answered_as_alone(self):
        inference = self.serve()
        shared = self.ids(1, 300)
        cached = []
        for seed in range(2, 6):
            ids = shared + self.ids(seed, 150)
            reply = self.generate(inference, ids, 12)
            self.assertEqual(list(reply.token_ids), self.answer(ids, 12))
            cached.append(reply.summary.usage.cached_prompt_tokens)
        # The second shows where prompts part, and is run as a whole.
        self.assertEqual(cached, [0, 0, 300 // PAGE * PAGE, 300 // PAGE * PAGE])
        again = self.generate(inference, ids, 12)
        self.assertEqual((list(again.token_ids), again.summary.usage.cached_prompt_tokens),
                         (list(reply.token_ids), 449 // PAGE * PAGE))
        deadline = time.monotonic() + 30
        while value(samples := scrape(self.port), "shira_num_requests_running") > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(value(samples, "shira_kv_cache_usage_perc"), 0)
        self.assertEqual(value(samples, "shira_kv_cache_bytes"), value(samples, "shira_kept_prefix_bytes"))


if __name__ == "__main__":
    unittest.main()
