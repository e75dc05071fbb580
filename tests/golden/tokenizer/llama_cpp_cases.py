"""The GGUF vocabularies on which this project is compared with llama.cpp, and how a tokenization is summed up.

The vocabulary of the demo model is taken as it is, and with other values of tokenizer.ggml.pre, so that every rule of the pre-tokenizer
table is compared; and a small vocabulary with scores (sentencepiece.json, trained by SentencePiece on a part of the corpus). Added tokens that overlap are not: llama.cpp cuts the longest one of the whole text first, this project the leftmost
one, as `tokenizers` does with the folder of the same model (gguf_tokenizer_test.cc).
"""

import functools
import hashlib
import json
import pathlib

import gguf

# One name for each distinct rule.
PRE_TOKENIZERS = [
    "default", "llama-bpe", "gpt-2", "qwen2", "qwen35", "bailingmoe", "seed-coder", "exaone-moe", "deepseek-coder", "deepseek-v3",
    "falcon", "bloom", "viking", "tekken", "gpt-4o", "deepseek-llm", "jais-2", "laguna", "minicpm5", "ufakzeka", "spark2_5",
]

BLOCK = 64


def variants(model):
    """Name -> what writes the GGUF file, given its path. `model` is the demo model's file."""
    result = {"smollm": functools.partial(write_variant, model, "smollm")}
    for pre in PRE_TOKENIZERS:
        result[pre] = functools.partial(write_variant, model, pre)
    result["llama"] = write_sentencepiece
    result["llama-without-prefix"] = functools.partial(write_sentencepiece, add_space_prefix=False, add_bos_token=False, add_eos_token=True)
    return result


@functools.cache
def tokenizer_fields(model):
    """Name -> (value, types) of the metadata about the tokenizer."""
    fields = gguf.GGUFReader(model).fields.items()
    return {name: (field.contents(), field.types) for name, field in fields if name.startswith("tokenizer.")}


def write(path, fields):
    """Writes metadata, name -> (value, types), as a GGUF file without tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, (value, types) in fields.items():
        writer.add_key_value(name, value, types[0], types[-1] if len(types) > 1 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_variant(model, pre, path):
    """Writes the vocabulary of the GGUF file `model` with another pre-tokenizer."""
    fields = dict(tokenizer_fields(model))
    fields["tokenizer.ggml.pre"] = (pre, fields["tokenizer.ggml.pre"][1])
    write(path, fields)


def sentencepiece():
    """tokens, scores and types by id."""
    return json.loads((pathlib.Path(__file__).parent / "sentencepiece.json").read_text())


def write_sentencepiece(path, **flags):
    """Writes the small vocabulary with scores; `flags` are further booleans of tokenizer.ggml."""
    kinds = gguf.GGUFValueType
    vocabulary = sentencepiece()
    fields = {"model": ("llama", [kinds.STRING]), "tokens": (vocabulary["tokens"], [kinds.ARRAY, kinds.STRING]),
              "scores": (vocabulary["scores"], [kinds.ARRAY, kinds.FLOAT32]), "token_type": (vocabulary["types"], [kinds.ARRAY, kinds.INT32]),
              **{name: (value, [kinds.BOOL]) for name, value in flags.items()}}
    write(path, {f"tokenizer.ggml.{name}": field for name, field in fields.items()})


def token_count(path):
    return len(gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"].data)


def digest(ids):
    """The first 8 hexadecimal digits of the SHA-256 of the ids, or of lists of ids."""
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:8]


def golden_lines(name, parsed, plain, ends):
    """What is kept of one vocabulary: `parsed` and `plain` hold ids for each text, `ends` the ids that end a generation."""
    yield f"{name} ends {' '.join(map(str, ends))}"
    step = 1 if name == "smollm" else BLOCK
    for first in range(0, len(parsed), step):
        yield f"{name} {first} {digest(parsed[first:first + step])} {digest(plain[first:first + step])}"
