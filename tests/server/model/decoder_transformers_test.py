"""Compares the decoder's logits and greedy tokens with transformers': on tiny random Llamas that differ in one feature each, and
on the demo model. Needs no tokenizer of ours: prompts are token ids."""

import os
import pathlib
import tempfile
import unittest

# Tests share the cores with other tests: threads that spin while they wait would slow them all.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy
import torch
import transformers

import shira_testutil

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

transformers.utils.logging.disable_progress_bar()

# Largest absolute difference of a logit: in 16 bits a few steps of the dtype, which for the tiny models' logits (up to 4) are 0.016
# and 0.002, and for the demo model's (up to 30) 0.125 and 0.016.
TINY_TOLERANCE = {"F32": 1e-5, "BF16": 0.1, "F16": 0.0125}
DEMO_TOLERANCE = {"F32": 1e-3, "BF16": 1.0, "F16": 0.15}

# A difference of tokens counts unless transformers' best two logits are this close.
TIE = 1e-3
GREEDY_TOKENS = 64

LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}
TINY_MODELS = {
    "tied": {},
    "untied": {"tie": False},
    "biases": {"bias": True},
    "one kv head": {"num_key_value_heads": 1},
    "as many kv heads as heads": {"num_key_value_heads": 4},
    "head_dim is not hidden / heads": {"head_dim": 24},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
    "llama3 rope": {"rope_parameters": LLAMA3_ROPE},
    "rms_norm_eps": {"rms_norm_eps": 0.1},
}

TEXTS = [
    "The capital of France is Paris, and the capital of", "Water boils at a hundred degrees when the pressure is",
    "Once upon a time there was a small dragon who", "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "In 1969 two astronauts landed on the moon and then", "My favourite recipe starts with two eggs, a cup of",
    "The theory of evolution was proposed by Charles Darwin in", "Dear Sir or Madam, I am writing to ask",
    "The quick brown fox jumps over the lazy dog while", "A prime number is a number greater than one that",
    "She opened the old wooden door and saw a long", "To install the program, first download the archive and then",
    "The three states of matter are solid, liquid and", "Shakespeare wrote many plays, among them Hamlet, Macbeth and the",
    "It was raining so hard that the streets of the", "Photosynthesis is the process by which green plants make their",
    "If you multiply seven by eight the result is the", "The train left the station at noon and arrived in",
    "SELECT name, age FROM users WHERE age > 30 ORDER BY", "The human heart has four chambers, two atria and two",
    "He picked up the telephone and heard a strange voice", "The Great Wall of China was built over many centuries",
    "Gravity pulls every object on the earth towards its very", "The best way to learn a new language is to",
]


def load(folder, dtype, **options):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype], **options).eval()


def run_logits(model_path, dtype, prompts, prefill, vocab_size, context=0, device=None):
    """What the decoder, or LibTorch on a device, makes of the prompts: per prompt [tokens - prefill + 1, vocab_size]. `context` is the
    longest sequence that the model is opened for; 0: its own."""
    with tempfile.TemporaryDirectory() as folder:
        prompts_file, out = pathlib.Path(folder, "prompts"), pathlib.Path(folder, "logits")
        prompts_file.write_text("".join(" ".join(map(str, prompt)) + "\n" for prompt in prompts))
        executor = ["--device", device] if device else []
        shira_testutil.run_binary(
            "run_decoder", *executor, "logits", model_path, dtype, prompts_file, prefill, out, context)
        logits = torch.from_numpy(numpy.fromfile(out, numpy.float32)).view(-1, vocab_size)
    return logits.split([max(len(prompt) - prefill, 0) + 1 for prompt in prompts])


def largest_difference(model, model_path, dtype, prompts, prefill, context=0, device=None):
    """Over all logits, against one pass of transformers over each whole prompt."""
    largest = 0.0
    found = run_logits(model_path, dtype, prompts, prefill, model.config.vocab_size, context, device)
    for prompt, logits in zip(prompts, found):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0].float()[min(prefill, len(prompt)) - 1:]
        largest = max(largest, (logits - expected).abs().max().item())
    return largest


class TinyModelTest(unittest.TestCase):
    def test_logits_equal_for_every_feature_and_dtype(self):
        generator = torch.Generator().manual_seed(3)
        prompts = [torch.randint(3, 300, (length,), generator=generator).tolist() for length in (90, 1, 9, 33)]
        for title, options in TINY_MODELS.items():
            with tempfile.TemporaryDirectory() as folder:
                shira_testutil.make_tiny_llama(folder, **options)
                for dtype in DTYPES:
                    with self.subTest(title, dtype=dtype):
                        difference = largest_difference(load(folder, dtype), folder, dtype, prompts, prefill=7)
                        print(f"{title}, {dtype}: largest difference {difference:.2g}")
                        self.assertLess(difference, TINY_TOLERANCE[dtype])


class DemoModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path = shira_testutil.demo_model()
        tokenizer = transformers.AutoTokenizer.from_pretrained(cls.path.parent, gguf_file=cls.path.name)
        cls.model = load(cls.path.parent, "F32", gguf_file=cls.path.name)
        cls.texts = [tokenizer(text)["input_ids"] for text in TEXTS]

    def test_logits_equal_in_fp32(self):
        long_prompt = sum(self.texts, [])
        difference = largest_difference(self.model, self.path, "F32", [long_prompt, *self.texts[:4]], prefill=200)
        print(f"demo model, F32: largest difference {difference:.2g}")
        self.assertLess(difference, DEMO_TOLERANCE["F32"])

    def test_greedy_tokens_equal_in_fp32(self):
        # Of one length, so that transformers' batch needs no padding.
        length = min(map(len, self.texts))
        prompts = [tokens[:length] for tokens in self.texts]
        with tempfile.TemporaryDirectory() as folder:
            prompts_file = pathlib.Path(folder, "prompts")
            prompts_file.write_text("".join(" ".join(map(str, prompt)) + "\n" for prompt in prompts))
            output = shira_testutil.run_binary(
                "run_decoder", "greedy", self.path, "F32", prompts_file, GREEDY_TOKENS).stdout
        found = torch.tensor([list(map(int, line.split())) for line in output.splitlines()])

        result = self.model.generate(
            torch.tensor(prompts), do_sample=False, max_new_tokens=GREEDY_TOKENS, eos_token_id=None, pad_token_id=0,
            output_logits=True, return_dict_in_generate=True)
        expected = result.sequences[:, length:]
        gaps = torch.stack([step.topk(2).values @ torch.tensor([1.0, -1.0]) for step in result.logits], 1)
        equal = 0
        for row in range(len(prompts)):
            differing = torch.nonzero(found[row] != expected[row]).flatten()
            first = differing[0].item() if len(differing) else GREEDY_TOKENS
            equal += first
            if first < GREEDY_TOKENS:
                self.assertLessEqual(gaps[row, first].item(), TIE, f"{TEXTS[row]}, token {first}")
        print(f"demo model: {equal} of {found.numel()} greedy tokens equal before a tie")
        self.assertGreater(equal, found.numel() * 3 // 4)

    def test_logits_are_close_in_16_bits(self):
        for dtype in ("BF16", "F16"):
            with self.subTest(dtype=dtype):
                model = load(self.path.parent, dtype, gguf_file=self.path.name)
                difference = largest_difference(model, self.path, dtype, self.texts[:4], prefill=6)
                print(f"demo model, {dtype}: largest difference {difference:.2g}")
                self.assertLess(difference, DEMO_TOLERANCE[dtype])


if __name__ == "__main__":
    unittest.main()
