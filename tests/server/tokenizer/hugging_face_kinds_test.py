"""Compares tokenizers of every kind with Hugging Face's `tokenizers`: each kind on every text of the golden corpus, and random ones on some.

    python hugging_face_kinds_test.py TOKENIZER_ORACLE_MAIN GOLDEN_FOLDER
"""

import json
import os
import pathlib
import random
import sys
import tempfile

from tokenizers import Tokenizer

import oracle
import tokenizer_kinds

BINARY, GOLDEN = sys.argv[1:]
sys.path.insert(0, GOLDEN)

import llama_cpp_cases  # noqa: E402
import make_corpus  # noqa: E402

RANDOM_TOKENIZERS = 300
TEXTS_OF_EACH = 40
IDS_OF_EACH = 20


def attempt(function, *arguments, **options):
    """The result, or the exception: also the one that a panic inside of the library becomes, which is not an Exception and writes to stderr."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return function(*arguments, **options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return error
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def batch(function, values, **options):
    results = attempt(function, values, **options)
    if not isinstance(results, BaseException):
        return results
    return [result[0] if isinstance(result, list) else result for result in (attempt(function, [value], **options) for value in values)]


def expected(tokenizer, lines):
    """What the oracle's rows have to be: None where the library has no answer, "refused" where it refuses a text."""
    texts = [line for line in lines if isinstance(line, str)]
    tokenizer.encode_special_tokens = False
    parsed = batch(tokenizer.encode_batch, texts)
    tokenizer.encode_special_tokens = True
    plain = batch(tokenizer.encode_batch, texts, add_special_tokens=False)
    tokenizer.encode_special_tokens = False
    ids = [None if isinstance(encoding, BaseException) else encoding.ids for encoding in parsed] + lines[len(texts):]
    known = [list(row or []) for row in ids]
    whole, skipped = (batch(tokenizer.decode_batch, known, skip_special_tokens=skip) for skip in (False, True))
    for i, row in enumerate(ids):
        if row is None:
            yield "refused"
        elif any(isinstance(text, BaseException) for text in (whole[i], skipped[i])):
            yield None
        else:
            yield ([row, plain[i].ids] if i < len(texts) else []) + [whole[i], skipped[i]]


def save(tokenizer, folder):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def compare(name, tokenizers, lines):
    """How many rows differ from those of the saved tokenizers."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [save(tokenizer, pathlib.Path(folder) / str(i)) for i, tokenizer in enumerate(tokenizers)]
        return differences(name, tokenizers, list(oracle.run_all(BINARY, paths, lines, folder)), lines)


def compare_gguf(texts):
    """The same of a GGUF file with scores and the folder that it comes from."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "scores.gguf"
        llama_cpp_cases.write_sentencepiece(path)
        results = list(oracle.run_all(BINARY, [path], texts, folder))
    return differences("GGUF with scores", [tokenizer_kinds.of_scores(llama_cpp_cases.sentencepiece())], results, texts)


def compare_odd():
    failures = 0
    for name, text in tokenizer_kinds.odd_tokenizers():
        tokenizer = attempt(Tokenizer.from_str, text)
        if isinstance(tokenizer, BaseException):
            print(f"{name}: not loaded, {tokenizer}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "tokenizer.json").write_text(text)
            lines = ["", "ab a b", " abab", "x ab", "<s>a", [5, 6, 7, 8, 3, 8], [900, 9, 900]]
            failures += differences(name, [tokenizer], list(oracle.run_all(BINARY, [folder], lines, folder)), lines)
    return failures


def differences(name, tokenizers, results, lines, show=3):
    failures = unanswered = 0
    for i, (tokenizer, (facts, rows)) in enumerate(zip(tokenizers, results)):
        if "error" in facts:
            different = [(None, None, facts)]
        else:
            wanted = list(expected(tokenizer, lines))
            unanswered += wanted.count(None)
            found = ["refused" if isinstance(row, dict) else row for row in rows]
            different = [row for row in zip(lines, wanted, found) if row[1] is not None and row[1] != row[2]]
        failures += len(different)
        if different and show > 0:
            show -= 1
            root = json.loads(tokenizer.to_str())
            root["model"] = {key: value for key, value in root["model"].items() if key not in ("vocab", "merges")}
            print(f"{name} {i}: {len(different)} rows differ; {json.dumps(root)[:3000]}")
            for line, want, got in different[:2]:
                print(f"  {line!r}:\n    expected {want!r}\n    found    {got!r}")
    print(f"{name}: {len(tokenizers)} tokenizers on {len(lines)} texts, {failures} rows differ, {unanswered} without an answer", flush=True)
    return failures


def main():
    texts = make_corpus.corpus()
    training = texts[:600]
    kinds = {name: make(training) for name, make in tokenizer_kinds.KINDS.items()}
    failures = compare_odd() + compare_gguf(texts)
    failures += sum(compare(name, [tokenizer], texts) for name, tokenizer in kinds.items())

    models = [json.loads(tokenizer.to_str())["model"] for tokenizer in kinds.values()]
    models = [model for model in models if not model.get("continuing_subword_prefix") or model["type"] == "WordPiece"]
    source = random.Random(20260)
    tokenizers = [tokenizer_kinds.random_tokenizer(source, models) for _ in range(RANDOM_TOKENIZERS)]
    for first in range(0, RANDOM_TOKENIZERS, 50):
        some = source.sample(texts, TEXTS_OF_EACH) + ["", " ", "  a", "<s> a</s>b <mask>", "\u6f22\u5b57 \u00e9"]
        ids = [[source.choice([source.randrange(400), source.randrange(560)]) for _ in range(source.randrange(20))] for _ in range(IDS_OF_EACH)]
        failures += compare(f"random ones from {first}", tokenizers[first:first + 50], some + ids)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
