#!/bin/bash
# tokenizers 0.23.3: in a Sequence of post-processors the second one works on each piece that the first one made, and not on the sequence: Bert behind
# a template that puts one token in front ends that token with a separator of its own. Seen: <s> [P] </s> a b </s>; expected: <s> [P] a b </s>, since
# each of the two alone gives [P] a b and <s> a b </s>. Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" tokenizers==0.23.3 2>/dev/null
PYTHONPATH=$folder python3 - <<'PYTHON'
from tokenizers import Tokenizer, models, pre_tokenizers, processors

tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2, "b": 3, "[P]": 4}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
prefix = processors.TemplateProcessing(single="[P] $A", special_tokens=[("[P]", 4)])
bert = processors.BertProcessing(("</s>", 1), ("<s>", 0))
seen = {}
for name, post_processor in {"prefix": prefix, "bert": bert, "both": processors.Sequence([prefix, bert])}.items():
    tokenizer.post_processor = post_processor
    seen[name] = " ".join(tokenizer.encode("a b").tokens)
    print(f"{name}: {seen[name]}")
assert seen == {"prefix": "[P] a b", "bert": "<s> a b </s>", "both": "<s> [P] </s> a b </s>"}
PYTHON
