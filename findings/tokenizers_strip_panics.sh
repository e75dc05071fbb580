#!/bin/bash
# tokenizers 0.23.3: the decoder Strip with `stop` panics on a token that is empty, or shorter than what it takes away at both ends, instead of giving "".
# Seen: PanicException, which is no Exception in Python, for "" and for " " (the latter with start=1, stop=1). Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" tokenizers==0.23.3 2>/dev/null
PYTHONPATH=$folder python3 - 2>/dev/null <<'PYTHON'
from tokenizers import decoders

def outcome(decoder, token):
    try:
        return decoder.decode([token])
    except BaseException as error:
        return type(error).__name__

empty, short = outcome(decoders.Strip(" ", 0, 1), ""), outcome(decoders.Strip(" ", 1, 1), " ")
print("an empty token:", empty)
print("a single space:", short)
assert empty == short == "PanicException"
PYTHON
