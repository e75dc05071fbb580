"""Writes llama_cpp.txt: how llama.cpp tokenizes the corpus with the vocabularies of llama_cpp_cases.py.

    python make_llama_cpp_golden.py MODEL.gguf PEER

PEER is a folder with llama_cpp_peer.mjs and node-llama-cpp (`npm install --ignore-scripts node-llama-cpp`; 3.22.1, which has llama.cpp v0.5.0, made
the file). Run it again when the corpus or the cases change.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp_cases
import make_corpus

FOLDER = pathlib.Path(__file__).parent


def tokenize(peer, path, texts, folder):
    texts_path, result_path = folder / "texts.jsonl", folder / "result.jsonl"
    texts_path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="ascii")
    count = llama_cpp_cases.token_count(path)
    subprocess.run(["node", "llama_cpp_peer.mjs", path, str(count), texts_path, result_path], check=True, cwd=peer)
    ends, *rows = map(json.loads, result_path.read_text().splitlines())
    return [row[0] for row in rows], [row[1] for row in rows], ends


def main(model, peer):
    texts = make_corpus.corpus()
    with tempfile.TemporaryDirectory() as name, open(FOLDER / "llama_cpp.txt", "w", encoding="ascii", newline="\n") as golden:
        folder = pathlib.Path(name)
        for variant, write in llama_cpp_cases.variants(model).items():
            path = folder / (variant.replace(" ", "_") + ".gguf")
            write(path)
            for line in llama_cpp_cases.golden_lines(variant, *tokenize(peer, path, texts, folder)):
                golden.write(line + "\n")
            path.unlink()
            print(variant, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
