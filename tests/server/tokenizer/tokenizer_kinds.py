"""Small tokenizers of the kinds that language models have, trained on texts of the golden corpus, as Hugging Face's `tokenizers` has them."""

import io
import json

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordLevelTrainer, WordPieceTrainer

SPACE = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>"]
FLAGS = [AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im_end|>", special=True, normalized=False, rstrip=True),
         AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("myword", single_word=True), AddedToken("Caf\u00e9", normalized=True)]


def sentencepiece_bpe(texts, vocab_size=1200):
    """The model of Llama 2: characters beyond the most frequent ones become bytes."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = BpeTrainer(vocab_size=vocab_size, limit_alphabet=100, special_tokens=SPECIAL + BYTES, show_progress=False)
    tokenizer.train_from_iterator([text[:200] for text in texts], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def llama2(texts):
    tokenizer = sentencepiece_bpe(texts)
    tokenizer.add_tokens(FLAGS)
    return tokenizer


def mistral(texts):
    tokenizer = llama2(texts)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    return tokenizer


def gemma(texts):
    tokenizer = llama2(texts)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def charsmap(texts):
    """The table of replacements (nmt_nfkc) that SentencePiece puts into its models."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts[:300]), model_writer=model, vocab_size=2000, hard_vocab_limit=False,
                                             model_type="unigram", normalization_rule_name="nmt_nfkc", minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return proto.normalizer_spec.precompiled_charsmap


def unigram(texts):
    """XLM-RoBERTa's and T5's."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(texts)), normalizers.Strip(left=False, right=True),
                                                 normalizers.Replace(Regex(" {2,}"), SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    trainer = UnigramTrainer(vocab_size=900, unk_token="<unk>", special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts[:20] + texts[200:400], trainer)
    tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 1))
    tokenizer.add_tokens(FLAGS)
    return tokenizer


def unigram_with_bytes(texts):
    tokenizer = unigram(texts)
    root = json.loads(tokenizer.to_str())
    root["model"]["vocab"] += [[byte, -20.0] for byte in BYTES]
    root["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(root))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(SPACE, prepend_scheme="first")])
    return tokenizer


def word_piece(texts):
    """BERT's."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = WordPieceTrainer(vocab_size=1200, limit_alphabet=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.add_tokens(FLAGS)
    return tokenizer


def word_level(texts):
    tokenizer = Tokenizer(WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, WordLevelTrainer(vocab_size=800, special_tokens=SPECIAL, show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return tokenizer


def word_ends(texts):
    """GPT's first one: the end of a word is a part of its last token."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder()
    trainer = BpeTrainer(vocab_size=800, limit_alphabet=100, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def word_middles(texts):
    """BPE with WordPiece's prefix, on a normalizer that makes bytes of the text."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = BpeTrainer(vocab_size=800, limit_alphabet=200, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level_normalizer(texts):
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(7)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=800, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(FLAGS)
    return tokenizer


KINDS = {"BPE of Llama 2": llama2, "BPE of Mistral": mistral, "BPE of Gemma": gemma, "Unigram": unigram, "Unigram with bytes": unigram_with_bytes,
         "WordPiece": word_piece, "WordLevel": word_level, "BPE with word ends": word_ends, "BPE with word middles": word_middles,
         "BPE with a byte-level normalizer": byte_level_normalizer}


def of_scores(vocabulary):
    """The folder of a SentencePiece model ("tokens", "scores", "types"): its merges are all the ways to make its tokens, as transformers converts them."""
    ids = {token: i for i, token in enumerate(vocabulary["tokens"])}
    merges = [(-vocabulary["scores"][i], ids[token[:cut]], ids[token[cut:]], token[:cut], token[cut:]) for token, i in ids.items()
              if vocabulary["types"][i] == 1 for cut in range(1, len(token)) if token[:cut] in ids and token[cut:] in ids]
    tokenizer = Tokenizer(BPE(ids, [tuple(merge[3:]) for merge in sorted(merges)], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    for token, kind in zip(vocabulary["tokens"], vocabulary["types"]):
        if kind in (2, 3, 4):
            # By its text a token is known to end generations, which makes it special.
            tokenizer.add_tokens([AddedToken(token, special=kind != 4 or token == "<|im_end|>", normalized=False)])
    return tokenizer


def random_normalizer(random):
    one = random.choice(["Prepend", "Replace", "Replace", "Regex", "NFKC", "Lowercase", "Strip", "StripAccents", "Nmt", "Bert"])
    return {
        "Prepend": lambda: normalizers.Prepend(random.choice([SPACE, "x "])),
        "Replace": lambda: normalizers.Replace(random.choice([" ", "a", "ab", "e\u0301"]), random.choice([SPACE, "", "bc", " "])),
        "Regex": lambda: normalizers.Replace(Regex(random.choice([" {2,}", r"\s+", r"^\s+", "[aeiou]", r"\p{Lu}|\n"])), random.choice([SPACE, "", "_"])),
        "NFKC": normalizers.NFKC, "Lowercase": normalizers.Lowercase,
        "Strip": lambda: normalizers.Strip(random.random() < 0.7, random.random() < 0.5),
        "StripAccents": normalizers.StripAccents, "Nmt": normalizers.Nmt,
        "Bert": lambda: normalizers.BertNormalizer(*[random.random() < 0.5 for _ in range(4)]),
    }[one]()


def random_pre_tokenizer(random):
    one = random.choice(["Metaspace", "Metaspace", "Metaspace", "Split", "Whitespace", "WhitespaceSplit", "Digits", "Punctuation", "Bert", "Fixed", "Char"])
    behavior = random.choice(["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
    return {
        "Metaspace": lambda: pre_tokenizers.Metaspace(random.choice([SPACE, SPACE, "_"]), random.choice(["always", "first", "never"]), random.random() < 0.6),
        "Split": lambda: pre_tokenizers.Split(random.choice([" ", SPACE, Regex(r"\s|\p{P}"), Regex("[A-Z]+")]), behavior, random.random() < 0.3),
        "Whitespace": pre_tokenizers.Whitespace, "WhitespaceSplit": pre_tokenizers.WhitespaceSplit,
        "Digits": lambda: pre_tokenizers.Digits(random.random() < 0.5), "Punctuation": lambda: pre_tokenizers.Punctuation(behavior),
        "Bert": pre_tokenizers.BertPreTokenizer, "Fixed": lambda: pre_tokenizers.FixedLength(random.randint(1, 9)),
        "Char": lambda: pre_tokenizers.CharDelimiterSplit(random.choice(["e", " ", SPACE])),
    }[one]()


def random_decoder(random):
    one = random.choice(["Replace", "Replace", "Regex", "ByteFallback", "ByteFallback", "Fuse", "Strip", "Metaspace", "WordPiece", "BPE", "ByteLevel"])
    return {
        "Replace": lambda: decoders.Replace(random.choice([SPACE, SPACE, "a", "aa", "ab", " "]), random.choice([" ", "", "aa"])),
        "Regex": lambda: decoders.Replace(Regex(random.choice(["[aeiou]+", SPACE, r"\s+"])), random.choice([" ", "", "_"])),
        "ByteFallback": decoders.ByteFallback, "Fuse": decoders.Fuse,
        "Strip": lambda: decoders.Strip(random.choice([" ", " ", "e", SPACE]), random.randint(0, 2), random.choice([0] * 15 + [1])),
        "Metaspace": lambda: decoders.Metaspace(SPACE, random.choice(["always", "first", "never"])),
        "WordPiece": lambda: decoders.WordPiece(random.choice(["##", "e"]), random.random() < 0.5),
        "BPE": lambda: decoders.BPEDecoder(random.choice(["</w>", "e"])), "ByteLevel": decoders.ByteLevel,
    }[one]()


def sequence(kind, parts):
    return None if not parts else parts[0] if len(parts) == 1 else kind(parts)


def random_tokenizer(random, models):
    """tokenizer.json with one of `models` (the member "model" of other files), its options and the components around it at random."""
    model = json.loads(json.dumps(random.choice(models)))
    if model["type"] == "BPE":
        for option in ("fuse_unk", "byte_fallback", "ignore_merges"):
            model[option] = random.random() < 0.5
        model["unk_token"] = random.choice(["<unk>", "<unk>", None])
        if random.random() < 0.3:  # some characters have all of their bytes, others do not
            for byte in random.sample(BYTES[128:], 40):
                model["vocab"].pop(byte, None)
        if random.random() < 0.2:
            model["vocab"][""] = max(model["vocab"].values()) + 3
    if model["type"] == "Unigram":
        model["byte_fallback"] = random.random() < 0.5
    if model["type"] == "WordPiece":
        model["max_input_chars_per_word"] = random.choice([4, 20, 100])
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                                               "decoder": None, "model": model}))
    normalizer = sequence(normalizers.Sequence, [random_normalizer(random) for _ in range(random.choice([0, 1, 1, 2, 3]))])
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    pre_tokenizer = sequence(pre_tokenizers.Sequence, [random_pre_tokenizer(random) for _ in range(random.choice([0, 1, 1, 2]))])
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    decoder = sequence(decoders.Sequence, [random_decoder(random) for _ in range(random.choice([0, 1, 2, 3, 4]))])
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_tokens(random.sample(FLAGS, random.randint(0, len(FLAGS))))
    if random.random() < 0.5:
        tokenizer.add_tokens(["<s>", "</s>"])
    return tokenizer


CLS, SEP = ["<s>", 1], ["</s>", 2]
TEMPLATE = {"single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1, 2], "tokens": ["<s>", "</s>"]}}}
# What old and unusual files have: a member of tokenizer.json, or of its model, and its value.
ODD_MEMBERS = [
    ("post_processor", {"cls": CLS, "sep": SEP}), ("post_processor", {"type": "ByteLevel", "cls": CLS, "sep": SEP, "trim_offsets": True, "add_prefix_space": True}),
    ("post_processor", {"cls": CLS, "sep": SEP, "trim_offsets": False, "add_prefix_space": False}), ("post_processor", TEMPLATE),
    ("post_processor", {"type": "TemplateProcessing", **TEMPLATE}), ("post_processor", {"add_prefix_space": True, "trim_offsets": True}),
    ("post_processor", {"type": "Sequence", "processors": [TEMPLATE, {"cls": CLS, "sep": SEP}]}), ("post_processor", {"processors": [TEMPLATE]}),
    ("pre_tokenizer", {"type": "Metaspace", "replacement": "_", "str_rep": "_", "add_prefix_space": True}),
    ("decoder", {"type": "Metaspace", "replacement": "_", "add_prefix_space": True}),
    ("decoder", {"type": "Metaspace", "replacement": "_", "add_prefix_space": False, "prepend_scheme": "never"}), ("decoder", None),
    ("post_processor", {"type": "Sequence", "processors": [{"cls": CLS, "sep": SEP, "trim_offsets": True, "add_prefix_space": True}, TEMPLATE]}),
    ("post_processor", {"type": "Sequence", "processors": [TEMPLATE, {"cls": CLS, "sep": SEP, "trim_offsets": True, "add_prefix_space": True}]}),
    ("model.vocab", {"": 900, "a": 17, "b": 18, "ab": 19}), ("model.merges", ["#version: 0.2", "a b"]), ("model.unk_token", "nowhere"), ("model.fuse_unk", None),
    ("model.continuing_subword_prefix", ""), ("model.end_of_word_suffix", ""), ("model.dropout", 0.0),
]


def odd_tokenizers():
    """tokenizer.json as texts, each with one odd member."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, "_", " ", "a", "b", "ab", "_a"])}
    for path, value in ODD_MEMBERS:
        root = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
                "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": ["a b", "_ a"]}}
        holder, member = (root["model"], path.removeprefix("model.")) if path.startswith("model.") else (root, path)
        if path == "model.vocab":
            value = {**value, **{token: i for token, i in vocabulary.items() if token not in value}}
        holder[member] = value
        if path == "model.merges":
            del root["model"]["type"]
        yield f"{path} {json.dumps(value)}", json.dumps(root)
