#!/usr/bin/env bash
# PEFT 0.21.2: loading an adapter changes the base model's own weights, for good, where the adapter's folder holds matrices of the base.
# save_pretrained puts them there by itself when lm_head (or embed_tokens) is among the targets, as lm_head.base_layer.weight, and with
# save_embedding_layers=True. PeftModel.from_pretrained writes them over the base it is given, without a word; unload() and
# disable_adapter() give that base back, not the one that was there before.
#
# Seen: an adapter (SHiRA, r = 1, target lm_head) trained on one base, loaded on another with the same shapes whose lm_head differs by 1:
# after from_pretrained(...).unload() lm_head is that of the first base. A Super-Tuning adapter does the same.
#
# Exits with another status than 0 when that has changed. About 5 minutes, most of them for installing torch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" "$work/venv/bin/python" -B - "$work" <<'PYTHON'
import copy
import sys

import torch
from peft import PeftModel, ShiraConfig, SupertuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

folder = sys.argv[1]
torch.manual_seed(0)
trained_on = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=1,
                                          num_key_value_heads=1, tie_word_embeddings=False))
other = copy.deepcopy(trained_on)
with torch.no_grad():
    other.lm_head.weight.add_(1)

changed = []
for name, config in (("shira", ShiraConfig(r=1, target_modules=["lm_head"])),
                     ("supertuning", SupertuningConfig(target_modules=["lm_head"], sparsity=0.9))):
    get_peft_model(copy.deepcopy(trained_on), config).save_pretrained(f"{folder}/{name}")
    base = copy.deepcopy(other)
    unloaded = PeftModel.from_pretrained(base, f"{folder}/{name}").unload()
    changed.append(torch.equal(unloaded.lm_head.weight, trained_on.lm_head.weight))
    print(name, "| the base's lm_head after unload() is the adapter's file's:", changed[-1])
sys.exit(0 if all(changed) else 1)
PYTHON
echo "as described"
