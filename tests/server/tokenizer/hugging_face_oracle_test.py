"""Compares the tokenizer of tokenizer.json files with Hugging Face's `tokenizers`, on every text of the golden corpus.

    python hugging_face_oracle_test.py TOKENIZER_ORACLE_MAIN GOLDEN_FOLDER

The files are the demo model's vocabulary with the rules of SmolLM2, and small vocabularies trained here with the set-ups of other model
families, so that every component is compared.
"""

import functools
import json
import os
import pathlib
import sys
import tempfile
import time

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from transformers import PreTrainedTokenizerFast

import folder_files
import oracle
import tokenizer_kinds

FOLDERS = 300

BINARY, GOLDEN = sys.argv[1:]
sys.path.insert(0, GOLDEN)

import make_corpus  # noqa: E402

MODEL = pathlib.Path(os.environ["SHIRA_DEPS"]) / "models" / "smollm2-135m-instruct-q4_1.gguf"

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
GPT4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES)
# What the translation to PCRE2 rewrites.
SYNTAX = r"\w+|\W|\bx\B|^\d{,3}$|\p{Han}|\u00e9|\v|\x{301}|\P{L}|[\w\-&]"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern if isinstance(pattern, str) else Regex(pattern[0]), behavior, invert)


def regex(pattern, behavior="isolated", invert=False):
    return split((pattern,), behavior, invert)


def byte_level(use_regex=False, add_prefix_space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def sequence(*parts):
    return pre_tokenizers.Sequence(list(parts))


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


CHATML = [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")]
FLAGS = [
    special("<|im_end|>", lstrip=True, rstrip=True), special("<|im_start|>", rstrip=True), AddedToken("<mask>", lstrip=True, normalized=False),
    AddedToken("myword", single_word=True, normalized=False), AddedToken("MyWord", single_word=True), AddedToken("Caf\u00e9", normalized=True),
    AddedToken("ab", normalized=False), AddedToken("abcd", normalized=False), AddedToken("bcde", normalized=False),
    special("[TOOL]", single_word=True), special("[TOOL_CALLS]"), AddedToken(" c ", normalized=True), AddedToken("\u00c5"),
]


def trained(pre_tokenizer, texts, added=CHATML, normalizer=None, vocab_size=1500, **model_options):
    tokenizer = Tokenizer(BPE(**model_options))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    if "unk_token" in model_options:
        alphabet = {"special_tokens": [model_options["unk_token"]], "limit_alphabet": 120}
    tokenizer.train_from_iterator(texts, BpeTrainer(vocab_size=vocab_size, show_progress=False, **alphabet))
    tokenizer.add_tokens(added)
    return tokenizer


def template(tokenizer, single, *names):
    return processors.TemplateProcessing(single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])


def smollm2(pre_tokenizer):
    fields = gguf.GGUFReader(MODEL).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(BPE({text: i for i, text in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"].contents()
    tokenizer.add_tokens([special(tokens[i]) for i, kind in enumerate(types) if kind == 3])
    return tokenizer


def converted_by_transformers():
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(MODEL.parent, gguf_file=MODEL.name).backend_tokenizer


# What components decide by tables of their own: every character up to the ideographs and Hangul, and the first plane beyond.
CHARACTERS = [" a ".join(map(chr, range(first, first + 512))) for first in [*range(0x80, 0x3400, 512), *range(0xA000, 0xAC00, 512), *range(0xF900, 0xFE00, 512),
                                                                         *range(0x10000, 0x20000, 512)]]
WITH_CHARACTERS = {"falcon", "starcoder", "Lowercase", "qwen2", "StripAccents", "BertNormalizer", "Nmt", "Precompiled", "Whitespace", "BertPreTokenizer"}


def cases(texts):
    """(name, tokenizer, whether its merges are written in the old form "a b")."""
    train = functools.partial(trained, texts=texts[:600])
    digits = pre_tokenizers.Digits(individual_digits=True)
    yield "smollm2", smollm2(sequence(digits, byte_level(use_regex=True))), True
    yield "smollm2 converted by transformers", converted_by_transformers(), False
    yield "gpt-2", train(byte_level(use_regex=True)), True
    yield "gpt-2 with prefix space", train(byte_level(use_regex=True, add_prefix_space=True), added=FLAGS), False

    llama3 = train(sequence(regex(LLAMA3), byte_level()), ignore_merges=True)
    llama3.post_processor = processors.Sequence([processors.ByteLevel(), template(llama3, "<|im_start|> $A", "<|im_start|>")])
    yield "llama-3", llama3, False
    qwen2 = train(sequence(regex(QWEN2), byte_level()), normalizer=normalizers.NFC(), added=FLAGS)
    qwen2.post_processor = processors.ByteLevel()
    yield "qwen2", qwen2, False
    deepseek = train(sequence(regex(r"\p{N}{1,3}"), regex("[一-龥\u3040-ゟ゠-ヿ]+"), regex(DEEPSEEK3), byte_level()))
    deepseek.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    deepseek.post_processor = template(deepseek, "<|im_start|>:0 <|endoftext|> $A <|im_end|>", "<|im_start|>", "<|endoftext|>", "<|im_end|>")
    yield "deepseek-v3", deepseek, False
    yield "mistral-nemo", train(sequence(regex(TEKKEN), byte_level())), False
    yield "gpt-4o", train(sequence(regex(GPT4O), byte_level())), False
    yield "cl100k", train(sequence(regex(CL100K), byte_level())), False
    yield "falcon", train(sequence(pre_tokenizers.Punctuation("contiguous"), byte_level(use_regex=True), pre_tokenizers.Digits(), regex("[0-9][0-9][0-9]"))), False
    yield "starcoder", train(sequence(pre_tokenizers.Punctuation(), digits, byte_level(use_regex=True))), False
    yield "deepseek-llm", train(sequence(regex("[\r\n]"), regex(r"\s+$"), regex(r"\s?\p{L}+"), byte_level())), False
    yield "syntax", train(sequence(regex(SYNTAX), byte_level())), False

    base = train(byte_level())
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        yield f"split {behavior}", with_pre_tokenizer(base, sequence(regex(r"\s|[aeiou]", behavior), split(".", behavior), byte_level())), False
        yield f"inverted split {behavior}", with_pre_tokenizer(base, sequence(regex(r"\p{L}+", behavior, invert=True), byte_level())), False

    for form in [normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase()]:
        yield f"{type(form).__name__}", train(byte_level(use_regex=True), normalizer=form, added=FLAGS), False
    whole = tokenizer_kinds.charsmap(texts)
    for form in [normalizers.StripAccents(), normalizers.BertNormalizer(), normalizers.BertNormalizer(True, True, False, False), normalizers.Nmt(),
                 normalizers.Precompiled(whole)]:
        yield f"{type(form).__name__}", with_normalizer(base, form), False
    base.normalizer = None
    yield "Whitespace", with_pre_tokenizer(base, sequence(pre_tokenizers.Whitespace(), byte_level())), False
    yield "BertPreTokenizer", with_pre_tokenizer(base, sequence(pre_tokenizers.BertPreTokenizer(), byte_level())), False
    rewriting = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Replace(" ", "\u2581"), normalizers.Replace(Regex("[aA]+"), "a"), normalizers.Lowercase(),
        normalizers.Prepend("\u2581")])
    yield "rewriting normalizers", train(byte_level(), normalizer=rewriting, added=FLAGS), False
    yield "unknown token", train(byte_level(use_regex=True), unk_token="<unk>"), False
    yield "fused unknown tokens", train(byte_level(use_regex=True), unk_token="<unk>", fuse_unk=True), False
    yield "unknown characters dropped", dropping(train(byte_level(use_regex=True), unk_token="<unk>")), False


def with_pre_tokenizer(tokenizer, pre_tokenizer):
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def with_normalizer(tokenizer, normalizer):
    tokenizer.pre_tokenizer = byte_level(use_regex=True)
    tokenizer.normalizer = normalizer
    return tokenizer


def dropping(tokenizer):
    tokenizer.model.unk_token = None
    return tokenizer


def with_old_merges(path):
    root = json.loads(path.read_text())
    root["model"]["merges"] = [" ".join(merge) for merge in root["model"]["merges"]]
    path.write_text(json.dumps(root))


def expected(tokenizer, texts, split_special_tokens=False):
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = split_special_tokens
    parsed = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    tokenizer.encode_special_tokens = True
    plain = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    whole = tokenizer.decode_batch(parsed, skip_special_tokens=False)
    skipped = tokenizer.decode_batch(parsed, skip_special_tokens=True)
    return [list(row) for row in zip(parsed, plain, whole, skipped)]


def check_folders(texts):
    """Folders with random files beside tokenizer.json against what transformers makes of them."""
    plain = trained(sequence(regex(LLAMA3), byte_level()), texts[:200], added=[], vocab_size=320)
    lowercase = Tokenizer.from_str(plain.to_str())
    lowercase.normalizer = normalizers.Lowercase()
    # Visible spaces, bytes and what the decoder does at the start of a text.
    spaces = tokenizer_kinds.sentencepiece_bpe(texts[:200], vocab_size=500)
    spaces.post_processor = processors.ByteLevel()
    failures = 0
    with tempfile.TemporaryDirectory() as root:
        tokenizers = {}
        for number in range(FOLDERS):
            random = folder_files.Random(number)
            folder = pathlib.Path(root) / f"folder {number}"
            folder.mkdir()
            folder_files.write(random, folder, lowercase if random.chance(0.3) else spaces if number % 4 == 3 else plain)
            try:
                tokenizers[folder] = PreTrainedTokenizerFast.from_pretrained(folder)
            except Exception:  # whatever it is that transformers does not take
                continue
        results = oracle.run_all(BINARY, list(tokenizers), folder_files.TEXTS, root)
        for (folder, tokenizer), (facts, rows) in zip(tokenizers.items(), results, strict=True):
            wanted = expected(tokenizer.backend_tokenizer, folder_files.TEXTS, tokenizer.split_special_tokens)
            eos = [] if not tokenizer.eos_token else [tokenizer.eos_token_id]
            if rows == wanted and facts["named_tokens"] == tokenizer.special_tokens_map and facts["end_of_generation_ids"] == eos:
                continue
            failures += 1
            if failures <= 3:
                print_folder(folder, facts, tokenizer, eos, wanted, rows)
    print(f"{len(tokenizers) - failures} of {len(tokenizers)} folders equal", flush=True)
    return failures + (len(tokenizers) < FOLDERS // 2)


def print_folder(folder, facts, tokenizer, eos, wanted, rows):
    print(f"{folder.name}: {facts} for {tokenizer.special_tokens_map}, end {eos}")
    for file in sorted(folder.glob("*.json")):
        root = json.loads(file.read_text())
        print(f"  {file.name}: {json.dumps(root.get('added_tokens', []) if file.name == 'tokenizer.json' else root)}")
    for text, want, got in zip(folder_files.TEXTS, wanted, rows):
        if want != got:
            print(f"  {text!r}:\n    expected {want!r}\n    found    {got!r}")


def main():
    texts = make_corpus.corpus()
    begin = time.monotonic()
    failures = check_folders(texts)
    corpus = texts
    for name, tokenizer, old_merges in cases(corpus):
        texts = corpus + CHARACTERS if name in WITH_CHARACTERS else corpus[::4] if "split" in name else corpus[:5000]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            tokenizer.save(str(path))
            if old_merges:
                with_old_merges(path)
            _, rows = oracle.run(BINARY, folder, texts, folder)
        wanted = expected(tokenizer, texts)
        different = [i for i in range(len(texts)) if rows[i] != wanted[i]]
        print(f"{name}: {len(texts) - len(different)} of {len(texts)} texts equal ({time.monotonic() - begin:.1f} s)", flush=True)
        begin = time.monotonic()
        for i in different[:3]:
            print(f"  text: {texts[i]!r}")
            for what, want, got in zip(["ids", "plain ids", "decoded", "decoded without special tokens"], wanted[i], rows[i]):
                if want != got:
                    print(f"  {what}:\n    expected {want!r}\n    found    {got!r}")
        failures += len(different)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
