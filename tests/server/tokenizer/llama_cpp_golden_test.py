"""Compares the tokenizer of GGUF files with what llama.cpp made of the same texts (tests/golden/tokenizer/llama_cpp.txt).

    python llama_cpp_golden_test.py TOKENIZER_ORACLE_MAIN GOLDEN_FOLDER
"""

import os
import pathlib
import sys
import tempfile

import oracle

BINARY, GOLDEN = sys.argv[1:]
sys.path.insert(0, GOLDEN)

import llama_cpp_cases  # noqa: E402
import make_corpus  # noqa: E402

MODEL = pathlib.Path(os.environ["SHIRA_DEPS"]) / "models" / "smollm2-135m-instruct-q4_1.gguf"


def main():
    texts = make_corpus.corpus()
    wanted = {}
    for line in (pathlib.Path(GOLDEN) / "llama_cpp.txt").read_text().splitlines():
        wanted.setdefault(line.split(" ", 1)[0], []).append(line)
    variants = llama_cpp_cases.variants(MODEL)
    assert set(wanted) == set(variants), set(wanted) ^ set(variants)

    failures = 0
    for name, write in variants.items():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "variant.gguf")
            write(path)
            facts, rows = oracle.run(BINARY, path, texts, folder)
        got = llama_cpp_cases.golden_lines(name, [row[0] for row in rows], [row[1] for row in rows], facts["end_of_generation_ids"])
        different = [(a, b) for a, b in zip(wanted[name], got, strict=True) if a != b]
        print(f"{name}: {len(wanted[name]) - len(different)} of {len(wanted[name])} lines equal")
        for a, b in different[:3]:
            first = a.split()[1]
            print(f"  llama.cpp: {a}\n  ours:      {b}\n  text: {texts[int(first)]!r}" if first.isdigit() else f"  {a}\n  {b}")
        failures += len(different)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
