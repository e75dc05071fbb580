#!/bin/bash
# tokenizers 0.23.3: BPE with byte_fallback and an unknown token gives tokens in the wrong order where a character without byte tokens stands before one
# that has them: the bytes come first. Seen: ids [1, 2, 0] for "xé", where 0 is the unknown token for "x". Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" tokenizers==0.23.3 2>/dev/null
PYTHONPATH=$folder python3 - <<'PYTHON'
from tokenizers import Tokenizer
from tokenizers.models import BPE

model = BPE({"<unk>": 0, "<0xC3>": 1, "<0xA9>": 2}, [], unk_token="<unk>", byte_fallback=True)
ids = Tokenizer(model).encode("x\u00e9").ids
print(ids)
assert ids == [1, 2, 0]
PYTHON
