"""The benchmarks' rows: JSON objects, one a line. A file has one row per key; a new one takes the place of the old one, so that a run can
be taken in pieces."""

import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine():
    with open("/proc/cpuinfo") as file:
        lines = [line.strip() for line in file]
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown processor")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    best = next((label for flag, label in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 BF16"), ("avx512f", "AVX-512"), ("avx2", "AVX2"))
                 if flag in flags), "no AVX2")
    family = [next((line.split(": ")[1] for line in lines if line.startswith(field)), "?") for field in ("cpu family", "model\t")]
    return f"{name} (family {family[0]}, model {family[1]}, {best}), {os.cpu_count()} cores"


def commit():
    """The commit's short name, with "-dirty" if a file that may change a figure is not as it is there: rows and pages may not."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!docs", ":!*.md")
    return git("describe", "--always") + ("-dirty" if changed else "")


def read(path):
    path = pathlib.Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def replace(path, rows, key_fields):
    """Writes the rows into the file; those of the same key there go."""
    def key(row):
        return json.dumps([row.get(field) for field in key_fields])

    new = {key(row) for row in rows}
    lines = [row for row in read(path) if key(row) not in new] + rows
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text("".join(json.dumps(row) + "\n" for row in lines))


def rounded(value, digits=4):
    """Significant digits: what is measured has no more."""
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    if isinstance(value, dict):
        return {name: rounded(one, digits) for name, one in value.items()}
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def median_ratio(numerators, denominators):
    """Of the ratios within one turn: a shared machine changes its speed from minute to minute, and a turn sees one speed."""
    return statistics.median(a / b for a, b in zip(numerators, denominators))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
