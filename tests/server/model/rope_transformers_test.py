"""Every scaling of rotary positions against transformers: angles bit for bit, logits, and GGUF files. Where transformers chooses by the
length of a sequence, the server's longest sequence chooses here, so models are run with a longer one and with a shorter one."""

import pathlib
import tempfile
import unittest

import decoder_transformers_test as oracle  # first: it sets the environment of what follows
import numpy
import torch
from families_transformers_test import gguf_name, prompts, write_gguf
from transformers.models.ministral3.modeling_ministral3 import get_llama_4_attn_scale

from shira_testutil import make_tiny_model, run_binary

CONTEXT = 256


def rope(kind, theta=10000.0, **parameters):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **parameters}}


def longrope(pairs, original=32, **parameters):
    """Factors of the frequencies of `pairs` pairs of a head, and their length at the top, where Phi 3 has it."""
    factors = {"short_factor": [1.0 + 0.05 * i for i in range(pairs)], "long_factor": [1.5 + 0.9 * i for i in range(pairs)]}
    return {"original_max_position_embeddings": original,
            **rope("longrope", original_max_position_embeddings=original, **factors, **parameters)}


# By title: the family, and what its configuration has otherwise than its defaults. Heads have 16 elements, so 8 pairs.
ROPES = {
    "linear": ("llama", rope("linear", factor=4.0)),
    "dynamic": ("llama", rope("dynamic", factor=2.3)),
    "llama3": ("llama", {"rope_parameters": oracle.LLAMA3_ROPE}),
    "yarn": ("qwen2", rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    "yarn, large base": ("llama", rope("yarn", theta=1e6, factor=8.0, original_max_position_embeddings=4096)),
    "yarn, not truncated, other turns": (
        "qwen3", rope("yarn", factor=4.0, original_max_position_embeddings=64, truncate=False, beta_fast=6, beta_slow=0.5)),
    "yarn, strength of attention": (
        "mistral", rope("yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=0.8)),
    "yarn, mscale": (
        "llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, mscale=1.5, mscale_all_dim=0.7)),
    "yarn, factor of the lengths": ("llama", rope("yarn", factor=None, original_max_position_embeddings=64)),
    "longrope": ("llama", longrope(8, factor=8.0)),
    "longrope, strength of attention": ("smollm3", longrope(8, attention_factor=1.3)),
    "phi3": ("phi3", longrope(8)),
    "phi3, three quarters of a head": ("phi3", {"tie_word_embeddings": True, **longrope(6, partial_rotary_factor=0.75)}),
    "phi3, half a head, not scaled": ("phi3", rope("default", partial_rotary_factor=0.5)),
    "ministral3": (
        "ministral3", rope("yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=1.0,
                           llama_4_scaling_beta=0.4)),
    "ministral3, as released": ("ministral3", {"max_position_embeddings": 40000}),
}


class RopeTest(unittest.TestCase):
    def for_each_rope(self, check):
        for title, (family, overrides) in ROPES.items():
            with self.subTest(title), tempfile.TemporaryDirectory() as folder:
                check(title, make_tiny_model(folder, family, **overrides), pathlib.Path(folder))

    def lengths(self, model):
        """Lengths that transformers computes alike with the length as the longest one: both sides of the original one."""
        parameters = model.config.rope_parameters
        if parameters["rope_type"] != "longrope":
            return (CONTEXT,)
        original = parameters["original_max_position_embeddings"]
        return (original, original + 1, CONTEXT)

    def test_angles_equal_bit_for_bit(self):
        def check(_, model, folder):
            scaling = model.config.rope_parameters
            longest = model.config.max_position_embeddings
            for length, dtype in (*((length, "F32") for length in self.lengths(model)), (longest, "BF16"), (longest, "F16")):
                run_binary("print_rotary", folder, length, dtype, folder / "angles")
                found = torch.from_numpy(numpy.fromfile(folder / "angles", numpy.float32))
                positions = torch.arange(length).unsqueeze(0)
                expected = model.model.rotary_emb(torch.zeros(1, dtype=oracle.DTYPES[dtype]), positions)
                parts = [angles[0, :, : angles.shape[-1] // 2] for angles in expected]
                if "llama_4_scaling_beta" in scaling:
                    scales = get_llama_4_attn_scale(
                        positions, scaling["llama_4_scaling_beta"], scaling["original_max_position_embeddings"])
                    parts.append(scales.to(oracle.DTYPES[dtype]))
                self.assertTrue(torch.equal(found, torch.cat([part.float().flatten() for part in parts])), (length, dtype))

        self.for_each_rope(check)

    def check_logits(self, title, model, path, dtype):
        for length in self.lengths(model):
            # The last one is of the length itself; where factors depend on it, others would be computed otherwise.
            is_long = model.config.rope_parameters["rope_type"] == "longrope" and length > self.lengths(model)[0]
            shortest = self.lengths(model)[1] if is_long else 1
            texts = prompts([max(shortest, min(own, length)) for own in (90, 1, 9, 33)])
            difference = oracle.largest_difference(model, path, dtype, texts, prefill=7, context=length)
            print(f"{title}, {path.suffix or 'folder'}, {length} tokens, {dtype}: largest difference {difference:.2g}")
            self.assertLess(difference, oracle.TINY_TOLERANCE[dtype], (length, dtype))

    def test_logits_equal_transformers(self):
        def check(title, _, folder):
            for dtype in ("F32", "BF16"):
                self.check_logits(title, oracle.load(folder, dtype), folder, dtype)

        self.for_each_rope(check)

    def test_a_gguf_file_computes_what_its_folder_does(self):
        def check(title, model, folder):
            scaling = model.config.rope_parameters
            # Files have no place for these, nor for longrope in other families than Phi 3.
            special = {"attention_factor", "truncate", "beta_fast"} & set(scaling) or scaling.get("mscale", 1.0) != 1.0
            family = model.config.model_type
            if (gguf_name(model) is not None and not special and scaling["rope_type"] in ("linear", "yarn", "longrope")
                    and (family == "phi3" or scaling["rope_type"] != "longrope")):
                path = folder / "tiny.gguf"
                write_gguf(model, path)
                self.check_logits(title, model, path, "F32")

        self.for_each_rope(check)


if __name__ == "__main__":
    unittest.main()
