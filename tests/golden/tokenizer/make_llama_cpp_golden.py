"""Writes llama_cpp.txt: how llama.cpp tokenizes the corpus with the vocabularies of llama_cpp_cases.py.

    python make_llama_cpp_golden.py MODEL.gguf

Needs llama-cpp-python (0.3.36 made the file) and gguf. Run it again when the corpus or the cases change.
"""

import os
import pathlib
import sys
import tempfile

import llama_cpp

import llama_cpp_cases
import make_corpus

FOLDER = pathlib.Path(__file__).parent


def tokenize(path, texts):
    llama = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    data = [text.encode() for text in texts]
    parsed = [llama.tokenize(text, True, True) for text in data]
    plain = [llama.tokenize(text, False, False) for text in data]
    vocab = llama._model.vocab
    ends = [i for i in range(llama.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocab, i)]
    return parsed, plain, ends


def main(model):
    texts = make_corpus.corpus()
    with tempfile.TemporaryDirectory() as folder, open(FOLDER / "llama_cpp.txt", "w", encoding="ascii", newline="\n") as golden:
        for name, variant in llama_cpp_cases.variants().items():
            path = os.path.join(folder, name + ".gguf")
            llama_cpp_cases.write_variant(model, path, variant)
            for line in llama_cpp_cases.golden_lines(name, *tokenize(path, texts)):
                golden.write(line + "\n")
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
