"""Compares the surviving candidates and their probabilities with the scores that transformers' generate() draws from."""

import itertools
import pathlib
import tempfile
import unittest

import numpy
import torch
import transformers

import shira_testutil

NEW_TOKENS = 2
PROMPT = [[5, 17, 17, 900, 3]]


def peaked_model() -> transformers.LlamaForCausalLM:
    torch.manual_seed(20)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=1000, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2))
    # Random weights give flat logits; scaled, the probabilities fall off as a trained model's do.
    model.lm_head.weight.data *= 25
    return model.eval()


class SamplingTest(unittest.TestCase):
    def candidates(self, logits, seen, temperature, top_k, top_p, min_p, penalty):
        with tempfile.TemporaryDirectory() as folder:
            logits_file, seen_file = pathlib.Path(folder, "logits"), pathlib.Path(folder, "seen")
            logits_file.write_bytes(logits.astype(numpy.float32).tobytes())
            seen_file.write_bytes(numpy.unique(seen).astype(numpy.int32).tobytes())
            output = shira_testutil.run_binary(
                "select_candidates", temperature, top_k, top_p, min_p, penalty, logits_file, seen_file).stdout
        return {int(token): float(probability) for token, probability in map(str.split, output.splitlines())}

    def test_candidates_and_probabilities_equal_those_of_generate(self):
        model = peaked_model()
        sizes = []
        grid = itertools.product((0.3, 1.0, 1.7), (0, 1, 40), (1.0, 0.9, 0.35), (0.0, 0.08), (1.0, 1.3))
        for seed, (temperature, top_k, top_p, min_p, penalty) in enumerate(grid):
            torch.manual_seed(seed)
            result = model.generate(
                torch.tensor(PROMPT), do_sample=True, max_new_tokens=NEW_TOKENS, temperature=temperature, top_k=top_k,
                top_p=top_p, min_p=min_p, repetition_penalty=penalty, pad_token_id=0, eos_token_id=None,
                output_logits=True, output_scores=True, return_dict_in_generate=True)
            for step in range(NEW_TOKENS):
                scores = result.scores[step][0]
                expected = torch.softmax(scores.double(), -1).numpy()
                seen = result.sequences[0, :len(PROMPT[0]) + step].numpy()
                found = self.candidates(
                    result.logits[step][0].numpy(), seen, temperature, top_k, top_p, min_p, penalty)
                with self.subTest(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, penalty=penalty,
                                  step=step):
                    self.assertEqual(set(found), set(torch.nonzero(torch.isfinite(scores)).flatten().tolist()))
                    for token, probability in found.items():
                        self.assertAlmostEqual(probability, expected[token], delta=2e-6)
                sizes.append(len(found))
        print(f"{len(sizes)} distributions, {min(sizes)} to {max(sizes)} candidates")
        self.assertGreater(len(set(sizes)), 20)


if __name__ == "__main__":
    unittest.main()
