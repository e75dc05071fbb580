#!/usr/bin/env bash
# transformers 5.23.0 (gguf 0.19.0, accelerate 1.15.0): a GGUF model in several files (NAME-00001-of-00002.gguf ..., as gguf's own writer
# and llama.cpp's gguf-split make them) loads "successfully" from its first file alone. The tensors of the other files, which lie beside
# it, are filled with random numbers; loading ends normally, and only a warning in the log lists them as newly initialized.
#
# Seen: 2 files, 12 tensors. After from_pretrained(folder, gguf_file="m-00001-of-00002.gguf") the matrices of the second file are not the
# file's, and differ from one loading to the next; its norms are ones. Its output matrix is not even listed as missing: the model is taken
# for a tied one. The tensors of the first file are right.
#
# Exits with another status than 0 when that has changed. About 5 minutes, most of them for installing torch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0 numpy==2.4.6
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" "$work/venv/bin/python" -B - "$work" <<'PYTHON'
import sys

import gguf
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

folder = sys.argv[1]
torch.manual_seed(0)
config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=1,
                     num_key_value_heads=1, tie_word_embeddings=False)
model = LlamaForCausalLM(config)
names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
writer = gguf.GGUFWriter(f"{folder}/m.gguf", "llama", split_max_tensors=6)
writer.add_block_count(1)
writer.add_context_length(128)
writer.add_embedding_length(32)
writer.add_feed_forward_length(48)
writer.add_head_count(1)
writer.add_head_count_kv(1)
writer.add_rope_dimension_count(32)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(64)
for name, parameter in model.named_parameters():
    module = name.removesuffix(".weight")
    where = names.get(module) or "blk.0." + names[module.removeprefix("model.layers.0.")]
    writer.add_tensor(f"{where}.weight", parameter.detach().numpy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def load():
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file="m-00001-of-00002.gguf", output_loading_info=True)


(first, info), (second, _) = load(), load()
original, a, b = model.state_dict(), first.state_dict(), second.state_dict()
in_first_file, in_second_file = "model.embed_tokens.weight", "lm_head.weight"
random = sorted(name for name in a if not torch.equal(a[name], b[name]))
print("missing:", sorted(info["missing_keys"]))
print("different from one loading to the next:", random)
as_described = torch.equal(a[in_first_file], original[in_first_file]) and bool(random) and set(random) <= set(info["missing_keys"])
sys.exit(0 if as_described and not torch.equal(a[in_second_file], original[in_second_file]) else 1)
PYTHON
echo "as described"
