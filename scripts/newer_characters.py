"""Writes server/tokenizer/newer_characters_table.cc: the characters that came after Unicode 14, which is what PCRE2 of Debian 12 knows.

    python scripts/newer_characters.py        # with Python 3.11; takes pinned packages into a temporary folder

To be run again when the tokenizers that we equal move to another version of Unicode.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

TABLE = pathlib.Path(__file__).resolve().parent.parent / "server" / "tokenizer" / "newer_characters_table.cc"

CATEGORIES = """
import json, sys, unicodedata2
assert unicodedata2.unidata_version == json.load(sys.stdin), unicodedata2.unidata_version
characters = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
print(json.dumps({c: unicodedata2.category(chr(c)) for c in characters if unicodedata2.category(chr(c)) != "Cn"}))
"""
# Capital letters and their small ones go by their names.
LOWERCASE = """
import json, sys, unicodedata2
pairs = {}
for c in json.load(sys.stdin):
    if unicodedata2.category(chr(c)) != "Lu":
        continue
    try:
        pairs[c] = ord(unicodedata2.lookup(unicodedata2.name(chr(c)).replace("CAPITAL", "SMALL")))
    except KeyError:
        pass  # there is none
print(json.dumps(pairs))
"""
SCRIPTS = """
import json, sys, regex
from regex import _regex_core
characters = json.load(sys.stdin)
text = "".join(map(chr, characters))
names = {}
for name, value in _regex_core.PROPERTIES["SCRIPT"][1].items():
    # The other name, where there is one, is the code of four letters.
    if len(name) != 4 or value not in names:
        names[value] = name
print(json.dumps({ord(c): name for name in names.values() for c in regex.findall(rf"\\p{{Script={name}}}", text)}))
"""

HEAD = """// Made by scripts/newer_characters.py. Do not edit.

#include "server/tokenizer/newer_characters.h"

namespace shira {
namespace {

constexpr NewerCharacters kCharacters[] = {
"""
BETWEEN = """};

constexpr NewerLowercase kLowercase[] = {
"""
END = """};

}  // namespace

absl::Span<const NewerCharacters> NewerCharacterTable() { return kCharacters; }
absl::Span<const NewerLowercase> NewerLowercaseTable() { return kLowercase; }

}  // namespace shira
"""


def ask(package, program, question):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, package], check=True)
        return json.loads(subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True,
                                         input=json.dumps(question), env={"PYTHONPATH": folder}).stdout)


def categories(version):
    return {int(c): category for c, category in ask(f"unicodedata2=={version}", CATEGORIES, version).items()}


def main():
    # Debian 12's Python has the data of its PCRE2.
    assert unicodedata.unidata_version == "14.0.0", "run this with Python 3.11"
    sixteen, seventeen = categories("16.0.0"), categories("17.0.0")
    known = {c: unicodedata.category(chr(c)) for c in sixteen}
    new = {c: (16, category) for c, category in sixteen.items() if known[c] != category}
    new |= {c: (17, category) for c, category in seventeen.items() if c not in sixteen}
    scripts = ask("regex==2024.11.6", SCRIPTS, sorted(c for c in new if new[c][0] == 16))
    pairs = ask("unicodedata2==17.0.0", LOWERCASE, sorted(new))

    ranges = []
    for c in sorted(new):
        facts = (*new[c], scripts.get(str(c), ""))
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == facts:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, facts])
    with TABLE.open("w") as file:
        file.write(HEAD)
        for first, last, (version, category, script) in ranges:
            file.write(f'    {{0x{first:04X}, 0x{last:04X}, {version}, "{category}", "{script}"}},\n')
        file.write(BETWEEN)
        for capital, small in pairs.items():
            file.write(f"    {{0x{int(capital):04X}, 0x{small:04X}}},\n")
        file.write(END)


if __name__ == "__main__":
    main()
