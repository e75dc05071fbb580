#!/bin/bash
# tokenizers 0.23.3 (Oniguruma): \w matches U+00B2 SUPERSCRIPT TWO and five more characters of Latin-1 (U+00B3, B9, BC, BD, BE), [\w] does not, though both should be one set.
# Seen: ['a²', 'b'] for \w+ and ['a', 'b'] for [\w]+ on "a² b". Exits with 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" tokenizers==0.23.3 2>/dev/null
PYTHONPATH=$folder python3 - <<'PYTHON'
from tokenizers import Regex, pre_tokenizers

def words(pattern):
    return [piece for piece, _ in pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str("a\u00b2 b")]

alone, in_class = words(r"\w+"), words(r"[\w]+")
print(r"\w+  ", alone)
print(r"[\w]+", in_class)
assert alone == ["a\u00b2", "b"] and in_class == ["a", "b"]
PYTHON
