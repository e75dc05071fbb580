"""The tree against docs/architecture.md: who may include whom, which folders see which library, and that the file table names every file."""

import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ("base", "adapters", "server", "client", "tools")
MAX_FILE_LINES = 600
MAX_HEADER_LINES = 400


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def under(path: str, scope: str) -> bool:
    """Whether a file is in a folder, or is a file pair that is named without its suffix."""
    return path.startswith(scope + "/") or re.sub(r"\.\w+$", "", path) == scope or path == scope


def most_specific(path: str, scopes: list[str]) -> str | None:
    return max((scope for scope in scopes if under(path, scope)), key=len, default=None)


def main() -> int:
    text = (ROOT / "docs/architecture.md").read_text()
    rungs = {scope: names(row[1]) for row in table(text, "Who may include whom") for scope in names(row[0])}
    libraries = [(names(row[0]), names(row[1])) for row in table(text, "Which library is seen where")]
    listed = {name for row in table(text, "Files") for name in names(row[0])}
    problems = []

    files = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cc"))
    stems = set()
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        stem = re.sub(r"\.\w+$", "", name)
        stems.add(stem)
        if not any(fnmatch.fnmatchcase(stem, pattern) for pattern in listed):
            problems.append(f"{name}: not in the file table")
        lines = path.read_text().splitlines()
        limit = MAX_HEADER_LINES if path.suffix == ".h" else MAX_FILE_LINES
        if len(lines) > limit:
            problems.append(f"{name}: {len(lines)} lines, more than {limit}")
        scope = most_specific(name, list(rungs))
        if scope is None:
            problems.append(f"{name}: in no rung")
            continue
        for number, line in enumerate(lines, 1):
            match = re.match(r'#include ["<]([^">]+)[">]', line)
            if not match:
                continue
            included = match.group(1)
            if (ROOT / included).exists() or included.startswith("shira/"):
                target = "proto" if included.startswith("shira/") else included
                own = target == scope or most_specific(target, list(rungs)) == scope
                if not own and not any(under(target, allowed) for allowed in rungs[scope]):
                    problems.append(f"{name}:{number}: `{scope}` may not include {included}")
            for prefixes, places in libraries:
                if any(included.startswith(prefix) for prefix in prefixes) and not any(under(name, place) for place in places):
                    problems.append(f"{name}:{number}: {included} is for {', '.join(places)} only")
    for pattern in sorted(listed):
        if not fnmatch.filter(stems, pattern):
            problems.append(f"docs/architecture.md: `{pattern}` is in the file table but not in the tree")

    print("\n".join(problems) or f"{len(files)} files in order")
    return 1 if problems else 0


sys.exit(main())
