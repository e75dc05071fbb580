#!/usr/bin/env bash
# PEFT 0.21.2: an adapter with modules_to_save=["mlp.experts"] on a mixture-of-experts model of transformers 5 (whose experts are one module
# with three-dimensional parameters) is trained and saved without a word, and cannot be loaded again: PeftModel.from_pretrained raises
# AttributeError. The same adapter without modules_to_save loads.
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
from peft import PeftModel, ShiraConfig, get_peft_model
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

folder = sys.argv[1]
torch.manual_seed(0)
base = Qwen3MoeForCausalLM(Qwen3MoeConfig(vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=1,
                                          num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_experts=4, num_experts_per_tok=2))
results = []
for name, saved in (("attention alone", None), ("attention and experts", ["mlp.experts"])):
    config = ShiraConfig(r=1, target_modules=["q_proj"], modules_to_save=saved)
    get_peft_model(copy.deepcopy(base), config).save_pretrained(f"{folder}/{name}")
    try:
        PeftModel.from_pretrained(copy.deepcopy(base), f"{folder}/{name}")
        results.append("loads")
    except AttributeError as error:
        results.append("AttributeError")
        print(error)
    print(name, "|", results[-1])
sys.exit(0 if results == ["loads", "AttributeError"] else 1)
PYTHON
echo "as described"
