"""Every family but Llama, which has tests of its own, against transformers and PEFT: tiny random models give
transformers' logits and greedy tokens; their GGUF files hold what their folders hold; SHiRA on every linear layer makes
the weights that PEFT's merge makes."""

import math
import pathlib
import tempfile
import unittest

import decoder_transformers_test as oracle  # first: it sets the environment of what follows
import gguf
import numpy as np
import torch
from gguf_writing import finish, open_writer
from peft import PeftModel, ShiraConfig, get_peft_model

from shira_testutil import make_tiny_model, parameter_hashes, run_binary

SLIDING, FULL = "sliding_attention", "full_attention"
# By title: the family, and what its configuration has otherwise than its defaults. Prompts are longer than windows.
MODELS = {
    "gemma2": ("gemma2", {"num_hidden_layers": 3, "sliding_window": 20, "query_pre_attn_scalar": 16,
                          "attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5}),
    "gemma2, no caps, biases, layers named": (
        "gemma2", {"sliding_window": 20, "query_pre_attn_scalar": 40, "attn_logit_softcapping": None,
                   "final_logit_softcapping": None, "attention_bias": True, "layer_types": [FULL, SLIDING]}),
    "gemma3": ("gemma3_text", {
        "num_hidden_layers": 7, "sliding_window": 20, "query_pre_attn_scalar": 16, "head_dim": 16, "rope_parameters": {
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            SLIDING: {"rope_type": "default", "rope_theta": 1e4}}}),
    "gemma3, capped, layers named": ("gemma3_text", {
        "num_hidden_layers": 3, "sliding_window": 20, "query_pre_attn_scalar": 40, "head_dim": 24,
        "final_logit_softcapping": 1.5, "layer_types": [SLIDING, FULL, SLIDING]}),
    "granite": ("granite", {"embedding_multiplier": 12.0, "attention_multiplier": 0.05, "residual_multiplier": 0.22,
                            "logits_scaling": 6.0}),
    "granite, tied, biases": ("granite", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
                                          "attention_multiplier": 0.3}),
    "gpt_neox": ("gpt_neox", {"num_key_value_heads": 4}),
    "gpt_neox, one after the other": (
        "gpt_neox", {"num_key_value_heads": 4, "use_parallel_residual": False, "attention_bias": False,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 1e3, "partial_rotary_factor": 0.5}}),
    "gpt_neox, other activation": ("gpt_neox", {"num_key_value_heads": 4, "hidden_act": "gelu_new"}),
    "olmo2": ("olmo2", {}),
    "olmo2, tied, biases": ("olmo2", {"tie_word_embeddings": True, "attention_bias": True, "num_key_value_heads": 4}),
    "olmo3": ("olmo3", {"num_hidden_layers": 4, "sliding_window": 20}),
    "olmo3, layers named": ("olmo3", {"sliding_window": 20, "layer_types": [FULL, SLIDING], "rope_parameters": {
        FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e5},
        SLIDING: {"rope_type": "default", "rope_theta": 1e4}}}),
    "stablelm": ("stablelm", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                                  "partial_rotary_factor": 0.5}}),
    "stablelm, beside each other": ("stablelm", {"use_parallel_residual": True, "use_qkv_bias": True}),
    "stablelm, norms of heads": ("stablelm", {"qk_layernorm": True, "tie_word_embeddings": True}),
    "starcoder2": ("starcoder2", {}),
    "starcoder2, window, no biases": ("starcoder2", {"use_bias": False, "sliding_window": 20, "head_dim": 24,
                                                     "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {}),
    "qwen2, tied": (
        "qwen2", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen2, windows from a layer on": (
        "qwen2", {"num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}),
    "qwen3": ("qwen3", {"head_dim": 24}),
    "qwen3, tied, biases": ("qwen3", {"tie_word_embeddings": True, "attention_bias": True, "rms_norm_eps": 0.1}),
    "qwen3, windows by layer": (
        "qwen3", {"head_dim": 24, "use_sliding_window": True, "sliding_window": 33, "num_hidden_layers": 3,
                  "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "mistral": ("mistral", {"sliding_window": 20, "head_dim": 24}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "phi3": ("phi3", {}),
    "phi3, window, one width for all": ("phi3", {"sliding_window": 20, "num_key_value_heads": 4}),
    "phi3, part of a head, factors of short texts": (
        "phi3", {"original_max_position_embeddings": 300,
                 "rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
                                     "short_factor": [1.0, 1.1, 1.2, 1.4, 2.0, 3.0], "long_factor": [9.0] * 6,
                                     "attention_factor": 1.2}}),
    "ministral3": (
        "ministral3", {"rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "llama_4_scaling_beta": 0.3}}),
    "ministral3, window, tied": (
        "ministral3", {"sliding_window": 20, "head_dim": 24, "tie_word_embeddings": True}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5}),
    "smollm3, untied, biases, layers named": (
        "smollm3", {"num_hidden_layers": 3, "no_rope_layers": [0, 1, 0], "tie_word_embeddings": False,
                    "attention_bias": True, "mlp_bias": True}),
}
# Architectures of llama.cpp that are not called as transformers calls the family. Mistral has none.
GGUF_NAMES = {"gemma3_text": "gemma3", "gpt_neox": "gptneox", "ministral3": "mistral3", "olmo3": "olmo2", "mistral": None}
# Families whose rows of q and k are interleaved in files of llama.cpp.
GGUF_INTERLEAVED = {"granite", "llama", "ministral3", "smollm3"}
# Whose norms are one larger there.
GGUF_PLUS_ONE = {"gemma2", "gemma3_text"}
# Models of which a file says everything that its folder does, or what it does not say is usual.
COMPLETE_IN_GGUF = {"gemma2", "gemma3", "gpt_neox", "gpt_neox, one after the other", "granite", "ministral3", "olmo2",
                    "olmo3", "phi3", "phi3, part of a head, factors of short texts", "phi3, window, one width for all", "qwen2", "qwen3", "smollm3", "stablelm",
                    "stablelm, beside each other", "starcoder2"}
# Of which it lacks tensors: each head's own norms are one tensor there.
NOT_IN_GGUF = {"stablelm, norms of heads"}

GREEDY_TOKENS = 24


def prompts(lengths=(90, 1, 9, 33)) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 300, (length,), generator=generator).tolist() for length in lengths]


def interleaved(values: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of each head: first of the first half, first of the second half, second of the first half, ..."""
    half = head_dim // 2
    order = np.array([head * head_dim + i + part * half
                      for head in range(len(values) // head_dim) for i in range(half) for part in range(2)])
    return values[order]


def stacked(values: np.ndarray, heads: int) -> np.ndarray:
    """All heads' queries, all keys, all values, of rows that have each head's three together."""
    by_head = values.reshape(heads, 3, -1, *values.shape[1:])
    return by_head.swapaxes(0, 1).reshape(values.shape)


def gguf_name(model) -> str | None:
    return GGUF_NAMES.get(model.config.model_type, model.config.model_type)


def write_rope(writer, config, head_dim: int) -> None:
    """As llama.cpp's converters do."""
    rope = config.rope_parameters.get(FULL, config.rope_parameters)
    kind, original = rope["rope_type"], rope.get("original_max_position_embeddings")
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    if "llama_4_scaling_beta" in rope:
        writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"] or config.max_position_embeddings / original)
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_yarn_log_mul(rope.get("mscale_all_dim", 0.0))
    elif kind == "longrope":
        writer.add_rope_scaling_orig_ctx_len(original)
        growth = config.max_position_embeddings / original
        strength = math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0
        writer.add_rope_scaling_attn_factors(rope.get("attention_factor", strength))
        for name in ("short", "long"):
            writer.add_tensor(f"rope_factors_{name}.weight", np.array(rope[f"{name}_factor"], np.float32))


def add_settings(writer, config) -> None:
    """What converters write of a family beside what all families have."""
    family = config.model_type
    if family == "phi3" or family.startswith(("gemma", "olmo3")):
        writer.add_sliding_window(config.sliding_window or 0)
    if family.startswith("gemma") and config.attn_logit_softcapping is not None:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if family.startswith("gemma") and config.final_logit_softcapping is not None:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if family == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if family in ("gpt_neox", "stablelm"):
        writer.add_parallel_residual(config.use_parallel_residual)


def write_gguf(model, path: pathlib.Path) -> None:
    """The model in float32, under the names of llama.cpp's own table."""
    config = model.config
    family = config.model_type
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = open_writer(model, path, gguf_name(model), head_dim)
    write_rope(writer, config, head_dim)
    add_settings(writer, config)
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == gguf_name(model))
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for parameter_name, parameter in model.named_parameters():
        module, kind = parameter_name.rsplit(".", 1)
        values = parameter.detach().float().numpy()
        if family in GGUF_INTERLEAVED and module.endswith(("q_proj", "k_proj")):
            values = interleaved(values, head_dim)
        if module.endswith("query_key_value"):
            values = stacked(values, config.num_attention_heads)
        if family in GGUF_PLUS_ONE and module.endswith("norm"):
            values = values + 1
        writer.add_tensor(f"{names.get_name(module)}.{kind}", np.ascontiguousarray(values))
    finish(writer)


class FamiliesTest(unittest.TestCase):
    maxDiff = None

    def for_each_model(self, check):
        for title, (family, overrides) in MODELS.items():
            with self.subTest(title), tempfile.TemporaryDirectory() as folder:
                check(title, make_tiny_model(folder, family, **overrides), pathlib.Path(folder))

    def test_logits_equal_transformers(self):
        def check(title, _, folder):
            for dtype in oracle.DTYPES:
                difference = oracle.largest_difference(oracle.load(folder, dtype), folder, dtype, prompts(), prefill=7)
                print(f"{title}, {dtype}: largest difference {difference:.2g}")
                self.assertLess(difference, oracle.TINY_TOLERANCE[dtype], dtype)

        self.for_each_model(check)

    def test_logits_of_libtorchs_executor_equal_transformers(self):
        def check(title, _, folder):
            for dtype in oracle.DTYPES:
                difference = oracle.largest_difference(
                    oracle.load(folder, dtype), folder, dtype, prompts(), prefill=7, device="cpu")
                print(f"{title}, {dtype}, LibTorch: largest difference {difference:.2g}")
                self.assertLess(difference, oracle.TINY_TOLERANCE[dtype], dtype)

        self.for_each_model(check)

    def test_greedy_tokens_equal_transformers(self):
        def check(_, model, folder):
            together = prompts((40, 40, 40))
            file = folder / "prompts"
            file.write_text("".join(" ".join(map(str, prompt)) + "\n" for prompt in together))
            output = run_binary("run_decoder", "greedy", folder, "F32", file, GREEDY_TOKENS).stdout
            found = [list(map(int, line.split())) for line in output.splitlines()]
            expected = model.generate(torch.tensor(together), do_sample=False, max_new_tokens=GREEDY_TOKENS,
                                      eos_token_id=None, pad_token_id=0)[:, 40:]
            self.assertEqual(found, expected.tolist())

        self.for_each_model(check)

    def test_weights_equal_transformers_whatever_the_file(self):
        def hashes(path, dtype):
            lines = run_binary("print_weight_hashes", path, dtype).stdout.splitlines()
            return {name: digest for digest, name in map(str.split, lines)}

        def check(title, model, folder):
            paths = [folder]
            if gguf_name(model) is not None and title not in NOT_IN_GGUF:
                paths.append(folder / "tiny.gguf")
                write_gguf(model, paths[1])
            for path in paths:
                for dtype in oracle.DTYPES:
                    expected = parameter_hashes(oracle.load(folder, dtype))
                    self.assertEqual(hashes(path, dtype), expected, f"{path}, {dtype}")

        self.for_each_model(check)

    def test_a_gguf_file_computes_what_its_folder_does(self):
        def check(title, model, folder):
            if title not in COMPLETE_IN_GGUF:
                return
            path = folder / "tiny.gguf"
            write_gguf(model, path)
            difference = oracle.largest_difference(model, path, "F32", prompts(), prefill=7)
            self.assertLess(difference, oracle.TINY_TOLERANCE["F32"])

        self.for_each_model(check)

    def test_shira_on_every_linear_layer_equals_pefts_merge(self):
        def check(_, model, folder):
            linears = {name.rsplit(".", 1)[-1] for name, module in model.named_modules()
                       if isinstance(module, torch.nn.Linear)}
            if model.config.tie_word_embeddings:
                linears.discard("lm_head")  # the embeddings
            torch.manual_seed(1)
            config = ShiraConfig(r=2, target_modules=sorted(linears), random_seed=1, init_weights=False)
            get_peft_model(oracle.load(folder, "F32"), config).save_pretrained(folder / "adapter")
            for dtype in oracle.DTYPES:
                base = parameter_hashes(oracle.load(folder, dtype))
                merged = PeftModel.from_pretrained(oracle.load(folder, dtype), folder / "adapter").merge_and_unload()
                expected = parameter_hashes(merged)
                changed = {name.rsplit(".", 2)[-2] for name in base if base[name] != expected[name]}
                self.assertEqual(changed, linears)
                lines = run_binary("print_adapted_hashes", folder, dtype, folder / "adapter").stdout.splitlines()
                found = {name: digest for digest, name in map(str.split, lines)}
                self.assertEqual(found, expected, dtype)

        self.for_each_model(check)


if __name__ == "__main__":
    unittest.main()
