"""What the documents say of the programs: reasons of errors, and that every command and option in an example exists."""

import functools
import os
import pathlib
import re
import shlex
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ["SHIRA_BIN"])
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "examples/README.md", *(ROOT / "docs").glob("*.md")])


def table(path, heading):
    """The rows of the table under a heading, as lists of cells."""
    section = path.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def examples():
    """[(document, words)] of every command line of ours in a code block; lines that end in a backslash go on."""
    for document in DOCUMENTS:
        blocks = re.findall(r"^```\w*\n(.*?)^```|^\n((?: {4}.*\n)+)", document.read_text(), re.M | re.S)
        for text in (fenced or indented for fenced, indented in blocks):
            for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
                line = line.strip().removeprefix("$ ").removeprefix("build/release/bin/")
                if re.match(r"(shira|shira-server|shira-adapter) ", line):
                    # What follows two blanks behind a command says what it prints.
                    yield document.name, re.split(r"\s[#<>]|\s\|(?![^\[]*\])|\s{2,}|\s&&", line)[0]


@functools.cache
def help_of(program, *command):
    arguments = ["--help"] if program != "shira" else ["help", *command]
    if program == "shira-adapter":
        arguments = [*command, "--help"]
    result = subprocess.run([BIN / program, *arguments], capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else None


class DocumentsTest(unittest.TestCase):
    def test_every_reason_of_an_error_is_in_the_manual(self):
        sources = "".join(path.read_text() for path in sorted((ROOT / "server/service").glob("*.cc")))
        given = set(re.findall(r'StatusCode::k\w+, "([A-Z_]+)"', sources))
        given |= set(re.findall(r'WithReason\((?:[^;"]|"(?![A-Z_]+")(?:[^"\\]|\\.)*")*"([A-Z_]+)"', sources))
        self.assertGreater(len(given), 30)
        rows = table(ROOT / "docs/cli.md", "Reasons")
        documented = set(re.findall(r"`([A-Z_]+)`", " ".join(row[1] for row in rows)))
        self.assertEqual(documented - given, set(), "in docs/cli.md alone")
        self.assertEqual(given - documented, set(), "not in the table of docs/cli.md, \"Reasons\"")

    def test_every_command_and_option_of_an_example_exists(self):
        count = 0
        for document, line in examples():
            with self.subTest(document=document, line=line):
                program, *words = re.findall(r"\"[^\"]*\"|'[^']*'|[^\s\[\]|]+", line)
                command = []
                for word in words:
                    if program == "shira-server" or not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
                        break
                    if help_of(program, *command, word) is None:
                        self.assertTrue(command, f"{program} has no command {word}")
                        break
                    command.append(word)
                    if program == "shira-adapter":
                        break
                text = help_of(program, *command)
                self.assertIsNotNone(text)
                for option in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", " ".join(w for w in words if w[0] not in "\"'")):
                    self.assertRegex(text, rf"(?m)(^|[\s,]){option}\b")
                    count += 1
        self.assertGreater(count, 40)


if __name__ == "__main__":
    unittest.main()
