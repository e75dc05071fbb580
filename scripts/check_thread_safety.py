#!/usr/bin/env python3
"""Compiles the thread-safety annotations (ABSL_GUARDED_BY and the like), which GCC ignores: clang reads every source that has to do with a
mutex, and its thread-safety warnings are errors. Nothing is built.

    scripts/check_thread_safety.py [BUILD_FOLDER]      default: build/release, which has to be configured and its protos generated
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("base", "adapters", "server", "client", "tools", "bench")
# As well as what the sources include themselves: headers of headers.
MUTEX = re.compile(r"absl/synchronization/mutex\.h|ABSL_GUARDED_BY|ABSL_EXCLUSIVE_LOCKS_REQUIRED")
# Clang 14 reads libstdc++ 12 and abseil with other warnings than GCC: only these count. Not -w, which silences them as well.
WARNINGS = ["-Wno-everything", "-Wthread-safety", "-Werror=thread-safety"]
# What has to be an error, or nothing is found anywhere.
WRONG = """
struct __attribute__((lockable)) Mutex {};
struct Counter {
  int Get() { return count; }
  Mutex mutex;
  int count __attribute__((guarded_by(mutex))) = 0;
};
"""


def included(path, seen):
    """The headers of ours that a file includes, directly or not."""
    for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
        header = ROOT / name
        if header.is_file() and header not in seen:
            seen.add(header)
            included(header, seen)
    return seen


def has_mutex(source):
    return any(MUTEX.search(path.read_text()) for path in {source, *included(source, set())})


def command(entry):
    """Clang's, from GCC's: where headers are, macros and the dialect."""
    words = iter(shlex.split(entry["command"])[1:])
    kept = []
    for word in words:
        if word == "-isystem":
            kept += [word, next(words)]
        elif word.startswith(("-I", "-D", "-std=", "-m")):
            kept.append(word)
    return ["clang++", "-fsyntax-only", *WARNINGS, *kept, entry["file"]]


def finds_faults():
    done = subprocess.run(["clang++", "-fsyntax-only", *WARNINGS, "-x", "c++", "-"], input=WRONG, capture_output=True, text=True)
    return "[-Werror,-Wthread-safety-analysis]" in done.stderr


def check(entry):
    done = subprocess.run(command(entry), cwd=entry["directory"], capture_output=True, text=True)
    return entry["file"], done.returncode, done.stderr


def main():
    if shutil.which("clang++") is None:
        sys.exit("clang++ is not there: apt-get install clang")
    if not finds_faults():
        sys.exit("clang++ does not report a member that is read without its lock")
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release")
    entries = [entry for entry in json.loads((build / "compile_commands.json").read_text())
               if pathlib.Path(entry["file"]).is_relative_to(ROOT)
               and pathlib.Path(entry["file"]).relative_to(ROOT).parts[0] in FOLDERS
               and has_mutex(pathlib.Path(entry["file"]))]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (file, status, errors) in enumerate(pool.map(check, entries), 1):
            if status != 0:
                failed += 1
                print(f"\n{errors}", file=sys.stderr)
            if sys.stdout.isatty() or number == len(entries):
                print(f"\r[thread safety] {number} of {len(entries)}, {failed} with errors", end="", flush=True)
    print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
