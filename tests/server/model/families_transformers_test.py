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
from safetensors.torch import load_file, save_file

from shira_testutil import make_tiny_model, parameter_hashes, run_binary, tensor_sha256

SLIDING, FULL = "sliding_attention", "full_attention"
# Of the hybrid models those whose layers are attention and one dense MLP.
DENSE = {"layer_types": ["attention", "attention"], "num_local_experts": 0, "num_experts_per_tok": 0,
         "intermediate_size": 96, "shared_intermediate_size": 96}
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
    "granitemoehybrid": ("granitemoehybrid", {
        **DENSE, "position_embedding_type": "rope", "embedding_multiplier": 12.0, "attention_multiplier": 0.05,
        "residual_multiplier": 0.22, "logits_scaling": 6.0}),
    "granitemoehybrid, no positions, tied, biases": ("granitemoehybrid", {
        **DENSE, "tie_word_embeddings": True, "attention_bias": True, "attention_multiplier": 0.3}),
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
    "mixtral": ("mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2}),
    "mixtral, window, tied, one expert": (
        "mixtral", {"num_local_experts": 3, "num_experts_per_tok": 1, "sliding_window": 20, "head_dim": 24,
                    "tie_word_embeddings": True}),
    "qwen3_moe": ("qwen3_moe", {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 48,
                                "norm_topk_prob": True, "head_dim": 24}),
    "qwen3_moe, shares of all, some layers dense, biases": (
        "qwen3_moe", {"num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40,
                      "decoder_sparse_step": 2, "mlp_only_layers": [1], "attention_bias": True,
                      "tie_word_embeddings": True}),
    "gpt_oss": ("gpt_oss", {"num_hidden_layers": 3, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 20}),
    "gpt_oss, tied, no biases, layers named, gates clamped": (
        "gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 20, "head_dim": 24,
                    "intermediate_size": 48, "tie_word_embeddings": True, "attention_bias": False, "swiglu_alpha": 2.5,
                    "swiglu_limit": 0.25, "layer_types": [FULL, SLIDING],
                    "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "truncate": False,
                                        "original_max_position_embeddings": 64}}),
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
GGUF_NAMES = {"gemma3_text": "gemma3", "gpt_neox": "gptneox", "gpt_oss": "gpt-oss", "granitemoehybrid": "granite",
              "ministral3": "mistral3", "olmo3": "olmo2", "mistral": None, "mixtral": "llama", "qwen3_moe": "qwen3moe"}
# Families whose rows of q and k are interleaved in files of llama.cpp.
GGUF_INTERLEAVED = {"granite", "granitemoehybrid", "llama", "ministral3", "mixtral", "smollm3"}
# Whose norms are one larger there.
GGUF_PLUS_ONE = {"gemma2", "gemma3_text"}
# Models of which a file says everything that its folder does, or what it does not say is usual.
COMPLETE_IN_GGUF = {
    "gemma2", "gemma3", "gpt_neox", "gpt_neox, one after the other", "gpt_oss", "granite", "granitemoehybrid",
    "granitemoehybrid, no positions, tied, biases", "ministral3", "mixtral", "olmo2", "olmo3", "phi3",
    "phi3, part of a head, factors of short texts", "phi3, window, one width for all", "qwen2", "qwen3", "qwen3_moe",
    "smollm3", "stablelm", "stablelm, beside each other", "stablelm, norms of heads", "starcoder2"}
# Every layer has a mixture of experts there.
NOT_IN_GGUF = {"qwen3_moe, shares of all, some layers dense, biases"}
# Families with mixtures of experts, and what a mixture's linear layers are called where its experts are modules: in gpt-oss those of
# folders on the hub, in the others those of transformers before 5.
MIXTURES = {"gpt_oss": ["router", "gate_up_projs.0", "gate_up_projs.1", "down_projs.1"], "mixtral": ["gate", "w1", "w2", "w3"],
            "qwen3_moe": ["gate", "gate_proj", "up_proj", "down_proj"]}
# A token's experts are decided where the score of the last one is so much above that of the next. Scores are up to 3, so that
# this is some steps of the dtype.
DECIDED = {"BF16": 0.06, "F16": 0.01}

GREEDY_TOKENS = 24
# So long that pages which windows have passed are used again.
LONG = (200, 1, 9, 33)


def prompts(lengths=(90, 1, 9, 33)) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 300, (length,), generator=generator).tolist() for length in lengths]


def has_mixtures(model) -> bool:
    return model.config.model_type in MIXTURES


def router_name(model) -> str:
    return "mlp.router" if model.config.model_type == "gpt_oss" else "mlp.gate"


def least_lead(model, prompt: list[int]) -> float:
    """By how much the experts that the prompt's last token uses, in any layer, score more than the others."""
    leads = [math.inf]

    def measure(router, inputs, _):
        last = inputs[0].reshape(-1, inputs[0].shape[-1])[-1]
        scores = torch.nn.functional.linear(last, router.weight, getattr(router, "bias", None)).float()
        best = scores.sort(descending=True).values
        leads.append((best[router.top_k - 1] - best[router.top_k]).item())

    hooks = [module.register_forward_hook(measure) for name, module in model.named_modules()
             if name.endswith(router_name(model))]
    assert hooks
    with torch.inference_mode():
        model(torch.tensor([prompt]))
    for hook in hooks:
        hook.remove()
    return min(leads)


def prompts_for(model, dtype: str) -> list[list[int]]:
    """Long ones in float32. In 16 bits, of a model with mixtures of experts, prompts whose tokens' experts do not depend on the last
    places: another expert is another function."""
    if dtype == "F32":
        return prompts(LONG)
    if not has_mixtures(model):  # the largest of so many more differences is larger
        return prompts()
    generator = torch.Generator().manual_seed(4)
    found = []
    for length in (60, 1, 9, 33):
        prompt: list[int] = []
        while len(prompt) < length:
            longer = [*prompt, int(torch.randint(3, 300, (), generator=generator))]
            if least_lead(model, longer) > DECIDED[dtype]:
                prompt = longer
        found.append(prompt)
    return found


def hub_tensors(model) -> dict[str, torch.Tensor]:
    """The parameters as transformers saves them for the hub, each expert's by themselves, all in the model's dtype: float16's norms
    of gpt-oss are float32."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(pathlib.Path(folder, "model.safetensors"))
    return {name: values.to(model.dtype) for fused, tensor in tensors.items() for name, values in by_expert(fused, tensor)}


def by_expert(name: str, tensor: torch.Tensor):
    """gpt-oss' tensors of all experts, whose matrices are multiplied from the right, under the names of modules."""
    module, _, matrix = name.partition(".mlp.experts.")
    if matrix.removesuffix("_bias") not in ("gate_up_proj", "down_proj"):
        yield name, tensor
        return
    kind = "bias" if matrix.endswith("_bias") else "weight"
    for expert, values in enumerate(tensor):
        yield f"{module}.mlp.experts.{matrix.removesuffix('_bias')}s.{expert}.{kind}", values.t().contiguous()


def save_modules(model, folder: pathlib.Path) -> None:
    """gpt-oss as folders on the hub have it whose routers and experts are modules of nn.Linear."""
    model.config.save_pretrained(folder)
    tensors = {name.replace(".mlp.router.", ".mlp.router.linear."): tensor for name, tensor in hub_tensors(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def hashes_of(model) -> dict[str, str]:
    if not has_mixtures(model):
        return parameter_hashes(model)
    return {name: tensor_sha256(tensor) for name, tensor in hub_tensors(model).items()}


def printed_hashes(*args) -> dict[str, str]:
    """What one of our programs prints."""
    return {name: digest for digest, name in map(str.split, run_binary(*args).stdout.splitlines())}


def unfused(tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Modules of these parameters that are called as in transformers before 5, where every matrix of an expert, and the router,
    was an nn.Linear of its own."""
    root = torch.nn.Module()
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].dim(), reverse=True):  # biases after their matrices
        *path, leaf, kind = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        if tensor.dim() == 2:
            outs, ins = tensor.shape
            linear = torch.nn.Linear(ins, outs, bias=False)
            linear.weight = torch.nn.Parameter(tensor.clone())
            module.add_module(leaf, linear)
        else:
            if leaf not in module._modules:
                module.add_module(leaf, torch.nn.Module())
            module.get_submodule(leaf).register_parameter(kind, torch.nn.Parameter(tensor.clone()))
    return root


def gguf_parameters(model):
    """(name of a module, "weight" or "bias", values): all experts' gates, ups and downs are a tensor each."""
    for name, parameter in model.named_parameters():
        values = parameter.detach().float().numpy()
        if name.endswith(".sinks"):
            yield name, "weight", values
        elif model.config.model_type == "gpt_oss" and ".mlp.experts." in name:
            values = values.swapaxes(1, 2) if values.ndim == 3 else values
            parts = {"gate_proj": values[:, ::2], "up_proj": values[:, 1::2]} if "gate_up" in name else {"down_proj": values}
            for part, rows in parts.items():
                yield f"{name.rsplit('.', 1)[0]}.{part}", "bias" if name.endswith("_bias") else "weight", rows
        elif name.endswith("mlp.experts.gate_up_proj"):
            for part, half in zip(("gate_proj", "up_proj"), np.split(values, 2, axis=1)):
                yield name.replace("gate_up_proj", part), "weight", half
        elif name.endswith("mlp.experts.down_proj"):
            yield name, "weight", values
        else:
            yield *name.rsplit(".", 1), values


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
    if family == "phi3" or family.startswith(("gemma", "gpt_oss", "olmo3")):
        writer.add_sliding_window(config.sliding_window or 0)
    if family.startswith("gemma") and config.attn_logit_softcapping is not None:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if family.startswith("gemma") and config.final_logit_softcapping is not None:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if family == "granitemoehybrid":
        writer.add_expert_shared_feed_forward_length(config.shared_intermediate_size)
        writer.add_head_count_kv([config.num_key_value_heads] * config.num_hidden_layers)
        writer.add_rope_scaling_finetuned(config.position_embedding_type == "rope")
    if family in ("granite", "granitemoehybrid"):
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if family in ("gpt_neox", "stablelm"):
        writer.add_parallel_residual(config.use_parallel_residual)
    if family in MIXTURES:
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if family == "qwen3_moe":
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def under_gguf_names(names, module: str, values: np.ndarray, parameters: dict[str, np.ndarray]):
    """A parameter's tensors, by their names there."""
    if ".norms." in module:  # each head's own are one tensor
        of_all, head = module.rsplit(".norms.", 1)
        norms = [name for name in parameters if name.startswith(f"{of_all}.norms.")]
        stack = np.stack([parameters[f"{of_all}.norms.{i}.weight"] for i in range(len(norms))])
        return [(names.get_name(of_all), stack)] if head == "0" else []
    if module.endswith("shared_mlp.input_linear"):
        layer = module.split(".")[2]
        return zip((f"blk.{layer}.ffn_gate", f"blk.{layer}.ffn_up"), np.split(values, 2), strict=True)
    return [(names.get_name(module.replace("shared_mlp.output_linear", "mlp.down_proj")), values)]


def write_gguf(model, path: pathlib.Path, experts: gguf.GGMLQuantizationType | None = None) -> None:
    """The model in float32, but for its experts' matrices if they are to have another type, under the names of llama.cpp's table."""
    config = model.config
    family = config.model_type
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = open_writer(model, path, gguf_name(model), head_dim)
    write_rope(writer, config, head_dim)
    add_settings(writer, config)
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == gguf_name(model))
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    parameters = {f"{module}.{kind}": values for module, kind, values in gguf_parameters(model)}
    for parameter_name, values in parameters.items():
        module, kind = parameter_name.rsplit(".", 1)
        if family in GGUF_INTERLEAVED and module.endswith(("q_proj", "k_proj")):
            values = interleaved(values, head_dim)
        if module.endswith("query_key_value"):
            values = stacked(values, config.num_attention_heads)
        if family in GGUF_PLUS_ONE and module.endswith("norm"):
            values = values + 1
        for name, part in under_gguf_names(names, module, values, parameters):
            part = np.ascontiguousarray(part)
            if experts is not None and name.endswith("_exps") and kind == "weight":
                writer.add_tensor(f"{name}.{kind}", gguf.quantize(part, experts), raw_dtype=experts)
            else:
                writer.add_tensor(f"{name}.{kind}", part)
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
                model = oracle.load(folder, dtype)
                difference = oracle.largest_difference(model, folder, dtype, prompts_for(model, dtype), prefill=7)
                print(f"{title}, {dtype}: largest difference {difference:.2g}")
                self.assertLess(difference, oracle.TINY_TOLERANCE[dtype], dtype)

        self.for_each_model(check)

    def test_logits_of_libtorchs_executor_equal_transformers(self):
        def check(title, _, folder):
            for dtype in oracle.DTYPES:
                model = oracle.load(folder, dtype)
                difference = oracle.largest_difference(
                    model, folder, dtype, prompts_for(model, dtype), prefill=7, device="cpu")
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
        def check(title, model, folder):
            paths = [folder]
            if gguf_name(model) is not None and title not in NOT_IN_GGUF:
                paths.append(folder / "tiny.gguf")
                write_gguf(model, paths[1])
            if has_mixtures(model):
                paths.append(folder / "as in memory")
                model.save_pretrained(paths[-1], save_original_format=False)
                names = load_file(paths[-1] / "model.safetensors")
                self.assertTrue(any(name.endswith("mlp.experts.gate_up_proj") for name in names), list(names))
            if model.config.model_type == "gpt_oss":
                paths.append(folder / "modules")
                save_modules(model, paths[-1])
            for path in paths:
                for dtype in oracle.DTYPES:
                    expected = hashes_of(oracle.load(folder, dtype))
                    self.assertEqual(printed_hashes("print_weight_hashes", path, dtype), expected, f"{path}, {dtype}")

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
                base = hashes_of(oracle.load(folder, dtype))
                merged = PeftModel.from_pretrained(oracle.load(folder, dtype), folder / "adapter").merge_and_unload()
                expected = hashes_of(merged)
                changed = {name.rsplit(".", 2)[-2] for name in base if base[name] != expected[name]}
                self.assertEqual(changed, linears)
                found = printed_hashes("print_adapted_hashes", folder, dtype, folder / "adapter")
                self.assertEqual(found, expected, dtype)

        self.for_each_model(check)


class MixtureAdaptersTest(unittest.TestCase):
    maxDiff = None

    def for_each_mixture(self, check):
        for title, (family, overrides) in MODELS.items():
            if family in MIXTURES:
                with self.subTest(title), tempfile.TemporaryDirectory() as folder:
                    check(make_tiny_model(folder, family, **overrides), pathlib.Path(folder))

    def test_shira_on_unfused_experts_and_routers_equals_pefts_merge(self):
        def check(model, folder):
            targets = [*MIXTURES[model.config.model_type], "q_proj"]
            config = ShiraConfig(r=2, target_modules=targets, random_seed=1, init_weights=False)
            torch.manual_seed(1)
            get_peft_model(unfused(hub_tensors(model)), config).save_pretrained(folder / "adapter")
            for dtype in oracle.DTYPES:
                tensors = hub_tensors(oracle.load(folder, dtype))
                merged = PeftModel.from_pretrained(unfused(tensors), folder / "adapter").merge_and_unload()
                expected = {name: tensor_sha256(tensor) for name, tensor in merged.state_dict().items()}
                changed = {name for name in tensors if tensor_sha256(tensors[name]) != expected[name]}
                self.assertTrue(changed)
                self.assertEqual(changed, {name for name in tensors if name.endswith(tuple(f".{target}.weight" for target in targets))})
                found = printed_hashes("print_adapted_hashes", folder, dtype, folder / "adapter")
                self.assertEqual(found, expected, dtype)

        self.for_each_mixture(check)

    # What PEFT saves for modules of transformers 5, where a router is a module and an expert's matrices are rows of a parameter.
    def save_with_module(self, folder, module):
        config = ShiraConfig(r=1, target_modules=["o_proj"], modules_to_save=[module], init_weights=False)
        torch.manual_seed(2)
        adapted = get_peft_model(oracle.load(folder, "F32"), config)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "modules_to_save" in name:
                    parameter.add_(torch.randn(parameter.shape))
        adapted.save_pretrained(folder / "adapter")

    def test_a_router_that_was_trained_whole_equals_pefts_merge(self):
        def check(model, folder):
            router = router_name(model)
            self.save_with_module(folder, router)
            for dtype in oracle.DTYPES:
                merged = PeftModel.from_pretrained(oracle.load(folder, dtype), folder / "adapter").merge_and_unload()
                base, expected = hashes_of(oracle.load(folder, dtype)), hashes_of(merged)
                changed = {name.rsplit(".", 2)[-2] for name in base if base[name] != expected[name]}
                self.assertEqual(changed, {router.removeprefix("mlp."), "o_proj"})
                self.assertEqual(printed_hashes("print_adapted_hashes", folder, dtype, folder / "adapter"), expected, dtype)

        self.for_each_mixture(check)

    def test_fused_experts_are_refused_by_name(self):
        def check(_, folder):
            self.save_with_module(folder, "mlp.experts")
            result = run_binary("print_adapted_hashes", folder, "F32", folder / "adapter", check=False)
            self.assertNotEqual(result.returncode, 0)
            for part in ("gate_up_proj", "down_proj"):
                self.assertRegex(result.stderr, rf"layers\.\d\.mlp\.experts\.{part}: it is one tensor of all experts' weights")

        self.for_each_mixture(check)

    def test_peft_targets_neither_routers_nor_fused_experts(self):
        """If PEFT learns to, such adapters have to be looked at."""
        def check(model, _):
            for target in (router_name(model), "mlp.experts"):
                with self.assertRaisesRegex(TypeError, "not supported"):
                    get_peft_model(model, ShiraConfig(r=1, target_modules=rf".*\.{target}"))

        self.for_each_mixture(check)


if __name__ == "__main__":
    unittest.main()
