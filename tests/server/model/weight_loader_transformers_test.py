"""server/model/weight_loader.h against transformers: every parameter of every kind of file has the same bytes in every resident dtype."""

import json
import os
import pathlib
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
from gguf_writing import finish, open_writer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from shira_testutil import demo_model, make_tiny_llama, parameter_hashes, run_binary, tensor_sha256

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Kind = gguf.GGMLQuantizationType

# Where a block has its 16-bit floats; everything else in it may have any value.
HALVES = {
    Kind.Q4_0: [0], Kind.Q4_1: [0, 2], Kind.Q5_0: [0], Kind.Q5_1: [0, 2], Kind.Q8_0: [0],
    Kind.Q4_K: [0, 2], Kind.Q5_K: [0, 2], Kind.Q6_K: [208], Kind.MXFP4: [],
}
FLOATS = {Kind.F32: np.float32, Kind.F16: np.float16}
GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def our_hashes(path, dtype: str) -> dict[str, str]:
    lines = run_binary("print_weight_hashes", path, dtype).stdout.splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def gguf_name(parameter: str) -> str:
    module, kind = parameter.rsplit(".", 1)
    if module in GGUF_NAMES:
        return f"{GGUF_NAMES[module]}.{kind}"
    _, _, layer, inner = module.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[inner]}.{kind}"


def random_blocks(kind: Kind, rows: int, cols: int, rng) -> np.ndarray:
    """Any bits, with scales that are finite halves of both signs and some subnormal."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, size=(rows, cols // elements, size), dtype=np.uint8)
    if kind == Kind.MXFP4:  # powers of two from the least one on
        blocks[..., 0] = rng.choice([0, 1, 2, 90, *range(100, 136)], blocks.shape[:2])
    for offset in HALVES[kind]:
        scales = (rng.standard_normal(blocks.shape[:2]) * 10.0 ** rng.integers(-7, 1, blocks.shape[:2])).astype(np.float16)
        blocks[..., offset : offset + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(rows, -1)


def write_gguf(model, path, kind: Kind, rng) -> None:
    """The model's architecture with random matrices of one kind."""
    config = model.config
    writer = open_writer(model, path, "llama", config.head_dim)
    writer.add_name("tiny")
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            writer.add_tensor(gguf_name(name), parameter.detach().float().numpy())
        elif kind in HALVES:
            rows, cols = parameter.shape
            writer.add_tensor(gguf_name(name), random_blocks(kind, rows, cols, rng), raw_dtype=kind)
        elif kind == Kind.BF16:
            bits = rng.integers(0, 1 << 16, size=tuple(parameter.shape), dtype=np.uint16)
            bits &= 0xBFFF  # below 2, which float16 holds too
            writer.add_tensor(gguf_name(name), bits.view(np.uint8), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), rng.standard_normal(tuple(parameter.shape)).astype(FLOATS[kind]))
    finish(writer)


class WeightLoaderTransformersTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check_folder(self):
        for name, dtype in DTYPES.items():
            with self.subTest(resident=name):
                model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype)
                self.assertEqual(our_hashes(self.folder, name), parameter_hashes(model))

    def check_gguf(self, path: pathlib.Path):
        for name, dtype in DTYPES.items():
            with self.subTest(resident=name):
                model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype)
                self.assertEqual(our_hashes(path, name), parameter_hashes(model))

    def test_one_file_of_every_dtype(self):
        for dtype in DTYPES.values():
            with self.subTest(stored=dtype):
                make_tiny_llama(self.folder, seed=1, dtype=dtype)
                self.check_folder()

    def test_shards(self):
        make_tiny_llama(self.folder, seed=2, tie=False, dtype=torch.bfloat16, max_shard_size="40KB")
        self.assertGreater(len(list(self.folder.glob("model-*.safetensors"))), 2)
        self.check_folder()

    def edit(self, change):
        """Changes the tensors of model.safetensors."""
        path = self.folder / "model.safetensors"
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    def test_tied_models_that_keep_the_output_matrix_too_or_alone(self):
        def alone(tensors):
            tensors[HEAD] = tensors.pop(EMBEDDINGS)

        def equal(tensors):
            tensors[EMBEDDINGS][0, 0] = 0.0
            tensors[HEAD] = tensors[EMBEDDINGS].clone()
            tensors[HEAD][0, 0] = -0.0

        def different(tensors):
            tensors[HEAD] = tensors[EMBEDDINGS] + 1

        for change, parameters in ((alone, 20), (equal, 20), (different, 21)):
            with self.subTest(change.__name__):
                make_tiny_llama(self.folder, seed=7)
                self.edit(change)
                self.check_folder()
                self.assertEqual(len(our_hashes(self.folder, "F32")), parameters)

    def test_indexes_that_list_too_much_or_too_little(self):
        make_tiny_llama(self.folder, seed=8, tie=False, max_shard_size="40KB")
        path = self.folder / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        shards = sorted(set(index["weight_map"].values()))
        tensors = load_file(self.folder / shards[0])
        name = next(iter(tensors))
        # In two shards, differently, and listed in neither of them.
        last = load_file(self.folder / shards[-1])
        save_file({**last, name: tensors[name] + 1}, self.folder / shards[-1], metadata={"format": "pt"})
        for weight_map in (
            {shard: shard for shard in shards},
            index["weight_map"] | {"model.layers.7.nothing": shards[1], name: shards[1]},
        ):
            path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
            self.check_folder()

    def test_biases_and_untied_embeddings(self):
        make_tiny_llama(self.folder, seed=3, tie=False, bias=True)
        self.check_folder()

    def test_heads_wider_than_the_hidden_size(self):
        make_tiny_llama(self.folder, seed=4, head_dim=32, num_key_value_heads=1)
        self.check_folder()

    def test_every_gguf_type(self):
        rng = np.random.default_rng(5)
        model = make_tiny_llama(self.folder, tie=False, hidden_size=256, intermediate_size=512, head_dim=64)
        for kind in [*HALVES, *FLOATS, Kind.BF16]:
            with self.subTest(kind=kind.name):
                path = self.folder / f"{kind.name}.gguf"
                write_gguf(model, path, kind, rng)
                self.check_gguf(path)

    def test_gguf_with_biases_and_tied_embeddings(self):
        model = make_tiny_llama(self.folder, seed=6, bias=True)
        path = self.folder / "biased.gguf"
        write_gguf(model, path, Kind.Q8_0, np.random.default_rng(6))
        hashes = our_hashes(path, "F32")
        self.assertEqual(set(hashes), {name for name, _ in model.named_parameters()})
        # transformers takes no biases from GGUF: those are compared with its own reordering of rows.
        config = model.config
        processor = LlamaTensorProcessor({"num_attention_heads": config.num_attention_heads,
                                          "num_key_value_heads": config.num_key_value_heads})
        expected = {}
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                weights = processor.process(parameter.detach().numpy(), gguf_name(name)).weights
                expected[name] = torch.from_numpy(np.ascontiguousarray(weights))
        self.assertEqual({name: hashes[name] for name in expected},
                         {name: tensor_sha256(tensor) for name, tensor in expected.items()})

    def test_the_demo_model(self):
        self.check_gguf(demo_model())


if __name__ == "__main__":
    unittest.main()
