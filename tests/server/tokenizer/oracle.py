"""Drives tokenizer_oracle_main for the tests that compare our tokenizer with another one."""

import json
import pathlib
import subprocess


def run_all(binary, models, texts, folder):
    """For each folder or GGUF file of `models` (facts, a row for each of `texts`); see tokenizer_oracle_main.cc.

    A model that is refused has its message as facts["error"], and no rows.
    """
    texts_path = pathlib.Path(folder) / "texts.jsonl"
    texts_path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="ascii")
    results = [pathlib.Path(folder) / f"result{i}.jsonl" for i in range(len(models))]
    arguments = [argument for model, result in zip(models, results) for argument in (model, texts_path, result)]
    subprocess.run([binary, *arguments], check=True)
    for result in results:
        facts, *rows = map(json.loads, result.read_text(encoding="utf-8").split("\n")[:-1])
        assert "error" in facts or len(rows) == len(texts), f"{len(rows)} rows for {len(texts)} texts"
        yield facts, rows


def run(binary, model, texts, folder):
    """The same for one model, which must not be refused."""
    [(facts, rows)] = run_all(binary, [model], texts, folder)
    assert "error" not in facts, facts
    return facts, rows
