"""The GGUF vocabularies on which this project is compared with llama.cpp, and how a tokenization is summed up.

The vocabulary of the demo model is taken as it is, and with other values of tokenizer.ggml.pre, so that every rule of the pre-tokenizer
table is compared. Added tokens that overlap are not: llama.cpp cuts the longest one of the whole text first, this project the leftmost
one, as `tokenizers` does with the folder of the same model (gguf_tokenizer_test.cc).
"""

import functools
import hashlib

import gguf

# One name for each distinct rule.
PRE_TOKENIZERS = [
    "default", "llama-bpe", "gpt-2", "qwen2", "qwen35", "bailingmoe", "seed-coder", "exaone-moe", "deepseek-coder", "deepseek-v3",
    "falcon", "bloom", "viking", "tekken", "gpt-4o",
]

BLOCK = 64


def variants():
    """Name -> (value of tokenizer.ggml.pre, further tokens, overridden metadata)."""
    result = {"smollm": ("smollm", [], {})}
    for pre in PRE_TOKENIZERS:
        result[pre] = (pre, [], {})
    return result


@functools.cache
def tokenizer_fields(model):
    """Name -> (value, types) of the metadata about the tokenizer."""
    fields = gguf.GGUFReader(model).fields.items()
    return {name: (field.contents(), field.types) for name, field in fields if name.startswith("tokenizer.")}


def write_variant(model, path, variant):
    """Writes the vocabulary of the GGUF file `model`, changed, as a GGUF file without tensors."""
    pre, added, overrides = variant
    fields = tokenizer_fields(model)
    tokens = fields["tokenizer.ggml.tokens"][0]
    ids = {text: i for i, text in enumerate(tokens)}
    writer = gguf.GGUFWriter(path, "llama")
    for name, (value, types) in fields.items():
        if name == "tokenizer.ggml.pre":
            value = pre
        elif name == "tokenizer.ggml.tokens":
            value = tokens + [text for text, _ in added if text not in ids]
        elif name == "tokenizer.ggml.token_type":
            changed = {ids[text]: kind for text, kind in added if text in ids}
            value = [changed.get(i, kind) for i, kind in enumerate(value)] + [kind for text, kind in added if text not in ids]
        value = overrides.get(name, value)
        writer.add_key_value(name, value, types[0], types[-1] if len(types) > 1 else None)
    for name, value in overrides.items():
        if name not in fields:
            writer.add_bool(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def digest(ids):
    """The first 8 hexadecimal digits of the SHA-256 of the ids, or of lists of ids."""
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:8]


def golden_lines(name, parsed, plain, ends):
    """What is kept of one vocabulary: `parsed` and `plain` hold ids for each text, `ends` the ids that end a generation."""
    yield f"{name} ends {' '.join(map(str, ends))}"
    step = 1 if name == "smollm" else BLOCK
    for first in range(0, len(parsed), step):
        yield f"{name} {first} {digest(parsed[first:first + step])} {digest(plain[first:first + step])}"
