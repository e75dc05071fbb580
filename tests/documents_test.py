"""The documents against the programs and the tree: reasons of errors, commands, options and flags that exist, and links that lead somewhere."""

import functools
import os
import pathlib
import re
import subprocess
import unittest

from project_version import project_version

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ["SHIRA_BIN"])
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "examples/README.md", *(ROOT / "docs").glob("*.md")])
# Every page of ours; proto/third_party has Google's.
PAGES = sorted({*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "bench/README.md", *(ROOT / "examples").rglob("*.md"), *(ROOT / "docs").rglob("*.md")})
# Files that are no pages but name files of the tree in their comments.
COMMENTED = sorted(path for folder in ("docker", "findings") for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "build")


def table(path, heading):
    """The rows of the table under a heading, as lists of cells."""
    section = path.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def examples():
    """[(document, words)] of every command line of ours in a code block; lines that end in a backslash go on."""
    for document in DOCUMENTS:
        blocks = re.findall(r"^ *```\w*\n(.*?)^ *```|^\n((?: {4}.*\n)+)", document.read_text(), re.M | re.S)
        for text in (fenced or indented for fenced, indented in blocks):
            for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
                line = line.strip().removeprefix("$ ").removeprefix("build/release/bin/")
                if re.match(r"(shira|shira-server|shira-adapter) ", line):
                    # What follows two blanks behind a command says what it prints.
                    yield document.name, re.split(r"\s[#<>]|\s\|(?![^\[]*\])|\s{2,}|\s&&", line)[0]


def prose(text):
    """The page without its code: blocks between fences, and what stands in backticks."""
    return re.sub(r"`(?:[^`\n]|\n(?!\s*\n))+`", "``", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    given = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.*?)\s*$", re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = given[anchor] = given.get(anchor, -1) + 1
        result.add(f"{anchor}-{count}" if count else anchor)
    return result


@functools.cache
def server_flags():
    """{flag: its default, or None} of `shira-server --help`."""
    flags = {}
    for line in help_of("shira-server").splitlines():
        match = re.match(r"  (?:-\w,)?(--[a-z][a-z0-9-]*)(?: [A-Z=]+(?::(?:\{[^}]*\}|\w+ in \[[^\]]*\]))?(?:=(\S+))?)?(?= |$)", line)
        if match:
            flags[match.group(1)] = match.group(2)
    return flags


@functools.cache
def help_of(program, *command):
    arguments = ["--help"] if program != "shira" else ["help", *command]
    if program == "shira-adapter":
        arguments = [*command, "--help"]
    result = subprocess.run([BIN / program, *arguments], capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else None


class DocumentsTest(unittest.TestCase):
    def test_every_reason_of_an_error_is_in_the_manual(self):
        sources = "".join(path.read_text() for path in [path for folder in ("generation", "grpc", "http") for path in sorted((ROOT / "server" / folder).glob("*.cc"))])
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

    def test_the_changelog_and_every_program_have_the_version_of_the_build(self):
        version = project_version()
        headings = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.M)
        self.assertEqual(headings[0], version, "the newest version in CHANGELOG.md")
        for program in ("shira-server", "shira", "shira-adapter"):
            printed = subprocess.run([BIN / program, "--version"], capture_output=True, text=True, check=True).stdout
            self.assertEqual(printed.splitlines()[0], f"{program} {version}")

    def test_every_link_leads_to_a_file_and_an_anchor(self):
        count = 0
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)|\b(?:src|href|srcset)=\"([^\"]+)\"", prose(page.read_text())):
                target = target[0] or target[1]
                if re.match(r"[a-z]+:", target):
                    continue
                with self.subTest(page=page.relative_to(ROOT).as_posix(), target=target):
                    path, _, anchor = target.partition("#")
                    file = (page.parent / path).resolve() if path else page
                    self.assertTrue(file.exists(), "no such file")
                    self.assertTrue(file.is_relative_to(ROOT))
                    if anchor:
                        self.assertIn(anchor, anchors(file))
                    count += 1
        self.assertGreater(count, 100)

    def test_lines_have_at_most_120_columns(self):
        """Not tables, not code (between fences or indented), and not a line whose only word, such as a URL, is longer."""
        for page in PAGES:
            text = re.sub(r"^ *```.*?^ *```$", lambda code: "\n" * code.group().count("\n"), page.read_text(), flags=re.M | re.S)
            for number, line in enumerate(text.split("\n"), 1):
                if len(line) > 120 and not line.startswith(("|", "    ")) and len(re.sub(r"^([-*]|\d+\.) ", "", line.strip()).split()) > 1:
                    self.fail(f"{page.relative_to(ROOT)}:{number}: {len(line)} columns")

    def test_every_file_that_is_named_exists(self):
        count = 0
        name = re.compile(rf"(?<![\w./~$-])(?:{'|'.join(FOLDERS)})/[\w./-]*\.(?:md|cc|h|py|sh|proto|cmake|txt|jsonl|svg|cfg|ya?ml|patch)\b")
        for file in [*PAGES, *COMMENTED]:
            # A changelog speaks of what was, and NAME stands for any name.
            for path in [path for path in name.findall(file.read_text()) if file.name != "CHANGELOG.md" and "NAME" not in path]:
                with self.subTest(file=file.relative_to(ROOT).as_posix(), path=path):
                    self.assertTrue((ROOT / path).exists(), "no such file")
                    count += 1
        self.assertGreater(count, 100)

    def test_the_table_of_flags_is_that_of_the_server(self):
        rows = table(ROOT / "docs/operating.md", "All flags")
        documented = {flag: row[1] for row in rows for flag in re.findall(r"`(--[^`]*)`", row[0])}
        self.assertEqual(set(documented) - set(server_flags()), set(), "not in shira-server --help")
        self.assertEqual(set(server_flags()) - set(documented), set(), "not in docs/operating.md, \"All flags\"")
        for flag, default in server_flags().items():
            with self.subTest(flag=flag):
                self.assertEqual(documented[flag].strip("`"), default or "", "the default")

    def test_every_flag_of_the_operators_tables_exists(self):
        count = 0
        for row in re.findall(r"^\| (`--[^|]*)\|([^|]*)\|", (ROOT / "docs/operating.md").read_text(), re.M):
            flags = re.findall(r"--[a-z][a-z0-9-]*", row[0])
            for flag in flags:
                with self.subTest(flag=flag):
                    self.assertIn(flag, server_flags())
                    count += 1
            # 0 has a meaning of its own that the tables spell out instead.
            if len(flags) == 1 and re.fullmatch(r"\d+", row[1].strip()):
                self.assertEqual(row[1].strip(), server_flags().get(flags[0]), f"the default of {flags[0]}")
        self.assertGreater(count, 60)


if __name__ == "__main__":
    unittest.main()
