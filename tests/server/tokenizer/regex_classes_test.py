"""Compares the classes of characters in our patterns with those of Hugging Face's `tokenizers`, over every code point.

    python regex_classes_test.py REGEX_CLASSES_MAIN
"""

import json
import subprocess
import sys

from tokenizers import Regex, pre_tokenizers

PATTERNS = [r"\p{L}+", r"\p{N}+", r"[\p{M}]+", r"\w+", r"\W+", r"[\w\-&]+", r"[\W]+", r"\d+", r"[\D]+", r"\s+", r"[^\s\p{L}\p{N}]+", r"[\P{L}a]+",
            r"[^\P{N}1]+", r"\p{^Lu}+", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+", r"[\p{P}\p{S}]+", r"\p{C}+", r"\p{Cn}+", r"\p{Han}+", r"[\p{Hiragana}\p{Katakana}]+",
            r"\p{Latin}+", r"\p{Mc}+", r"\p{Mn}+", r"[^\p{Mn}]+", r"[\p{L}&&[^a-z\p{Lo}]]+", r"[[\W_]&&\P{Zs}]+", r"[^\w[\p{M}\P{S}]]+", r"[\P{Nd}\P{Nl}]+"]
CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(pattern):
    """What Split takes out, as [first, last]."""
    text = "".join(CHARACTERS)
    kept = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
    result, done = [], 0
    for _, (begin, end) in [*kept, ("", (len(text), len(text)))]:
        if done < begin:
            result.append([ord(text[done]), ord(text[begin - 1])])
        done = end
    return result


def characters(found):
    """Without surrogates, which lie in the middle of a range without being characters."""
    return {c for first, last in found for c in range(first, last + 1) if not 0xD800 <= c < 0xE000}


def main(binary):
    lines = subprocess.run([binary, *PATTERNS], check=True, capture_output=True, text=True).stdout.splitlines()
    failures = 0
    for pattern, line in zip(PATTERNS, lines, strict=True):
        wanted, found = characters(ranges(pattern)), characters(json.loads(line))
        different = sorted(wanted ^ found)
        print(f"{pattern}: {len(wanted)} characters, {len(different)} differ", *(f"U+{c:04X}" for c in different[:10]), flush=True)
        failures += bool(different)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
