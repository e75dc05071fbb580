"""Drives tokenizer_oracle_main for the tests that compare our tokenizer with another one."""

import json
import pathlib
import subprocess


def run(binary, model, texts, folder):
    """(facts about the tokenizer, a row for each text) of the folder or GGUF file `model`; see tokenizer_oracle_main.cc."""
    texts_path = pathlib.Path(folder) / "texts.jsonl"
    result_path = pathlib.Path(folder) / "result.jsonl"
    texts_path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="ascii")
    subprocess.run([binary, model, texts_path, result_path], check=True)
    facts, *rows = map(json.loads, result_path.read_text(encoding="utf-8").split("\n")[:-1])
    assert len(rows) == len(texts), f"{len(rows)} rows for {len(texts)} texts"
    return facts, rows
