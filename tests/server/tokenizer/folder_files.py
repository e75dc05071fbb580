"""Random files beside tokenizer.json, of all the kinds and ages that say something about tokens."""

import json
import random

CONTENTS = ["<a>", "<b>", "<|c|>", "<d d>", "ab", "bcd", "<eos>", "<PAD>", "the", "Word", " x ", "e"]
TEXTS = ["", "plain text", "x <a> y<b>z", "<|c|><d d> <eos>", "abcd the Word word x  x y", "<PAD>The <pad>", "  <a>  <b>  ",
         "the<eos>the <eos> e", "<image><video> <extra> <EXTRA>", "a\n<a>\n<|c|>\u00e9<b>"]
NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


class Random(random.Random):
    def chance(self, probability):
        return self.random() < probability

    def some(self, values, most):
        return self.sample(values, self.randint(0, most))

    def flags(self, complete):
        flags = {key: self.chance(0.3) for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        return flags if complete else {key: value for key, value in flags.items() if self.chance(0.6)}

    def token(self, content):
        """A token as tokenizer_config.json has it."""
        if self.chance(0.6):
            return content
        return {"__type": "AddedToken", "content": content, **self.flags(complete=False)}


def config(random):
    result = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1000000000000000019884624838656}
    for name in random.some(NAMES, 5):
        result[name] = random.choice([None, random.token(random.choice(CONTENTS))])
    for name in random.some(["image_token", "video_token"], 2):
        result[name] = random.token(random.choice(["<image>", "<video>", "<a>"]))
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if random.chance(0.25):
            result[key] = [random.token(content) for content in random.some([*CONTENTS, "<extra>"], 3)]
    if random.chance(0.1):
        result["extra_special_tokens"] = {"extra_token": "<extra>", "second": "<EXTRA>"}
    if random.chance(0.2):
        result["split_special_tokens"] = random.chance(0.7)
    if random.chance(0.3):
        result["add_bos_token"] = True
    if random.chance(0.5):
        result["added_tokens_decoder"] = {
            str(random.choice([random.randrange(400), random.randrange(100000)])): {"content": content, **random.flags(complete=False)}
            for content in random.some(CONTENTS, 6)}
    return result


def special_tokens_map(random):
    result = {}
    for name in random.some([*NAMES, "image_token"], 5):
        content = random.choice([*CONTENTS, "<image>"])
        flags = random.flags(complete=True)
        flags.pop("special")
        result[name] = content if random.chance(0.5) else {"content": content, **flags}
    if random.chance(0.3):
        result[random.choice(["additional_special_tokens", "extra_special_tokens"])] = random.some(CONTENTS, 3)
    return result


def write(random, folder, tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"))
    root = json.loads((folder / "tokenizer.json").read_text())
    root["added_tokens"] = [{"id": random.choice([root["model"]["vocab"].get(content, 400 + place), random.randrange(1000)]), "content": content,
                             **random.flags(complete=True)} for place, content in enumerate(random.some(CONTENTS, 6))]
    (folder / "tokenizer.json").write_text(json.dumps(root))
    if random.chance(0.9):
        (folder / "tokenizer_config.json").write_text(json.dumps(config(random)))
    if random.chance(0.5):
        (folder / "special_tokens_map.json").write_text(json.dumps(special_tokens_map(random)))
    if random.chance(0.4):
        added = {content: random.choice([random.randrange(500), random.randrange(100000)]) for content in random.some(CONTENTS, 4)}
        (folder / "added_tokens.json").write_text(json.dumps(added))
