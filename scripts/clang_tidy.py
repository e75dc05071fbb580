#!/usr/bin/env python3
"""Runs clang-tidy (.clang-tidy says what for) over every source that is not a test, as many at a time as the machine has cores. Nothing is built.

    scripts/clang_tidy.py BUILD_FOLDER [PART_OF_A_PATH ...]      BUILD_FOLDER: configured, its protos generated, no unity build

Among what it reports are the thread-safety annotations (ABSL_GUARDED_BY and the like), which GCC ignores.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("base", "adapters", "server", "client", "tools", "bench")
TIDY = [str(ROOT / ".deps/venv/bin/clang-tidy"), "--quiet", f"--config-file={ROOT / '.clang-tidy'}"]
# Clang's own warnings are not GCC's, whose the build is clean of: only the locks count.
WARNINGS = ["--extra-arg=-Wno-everything", "--extra-arg=-Wthread-safety"]
# What has to be an error, or nothing is found anywhere.
WRONG = """
struct __attribute__((lockable)) Mutex {};
struct Counter {
  int Get() { return count; }
  Mutex mutex;
  int count __attribute__((guarded_by(mutex))) = 0;
};
"""


def finds_faults():
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "wrong.cc")
        source.write_text(WRONG)
        done = subprocess.run([*TIDY, *WARNINGS, str(source), "--"], capture_output=True, text=True)
    return "clang-diagnostic-thread-safety-analysis" in done.stdout


def check(build, source):
    done = subprocess.run([*TIDY, *WARNINGS, "-p", build, source], capture_output=True, text=True)
    # Its standard error counts what was not shown; where there is nothing to show, it says why it could not read the source.
    return source, done.returncode, done.stdout or done.stderr


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not finds_faults():
        sys.exit(f"{TIDY[0]} does not report a member that is read without its lock")
    build, parts = sys.argv[1], sys.argv[2:]
    sources = [pathlib.Path(entry["file"]) for entry in json.loads(pathlib.Path(build, "compile_commands.json").read_text())]
    ours = [str(source) for source in sources
            if source.is_relative_to(ROOT) and source.relative_to(ROOT).parts[0] in FOLDERS
            and (not parts or any(part in str(source) for part in parts))]
    failed = done = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, status, output in pool.map(lambda source: check(build, source), ours):
            done += 1
            if status:
                failed += 1
                print(output, flush=True)
            elif done % 50 == 0:
                print(f"  {done} of {len(ours)}", flush=True)
    print(f"{len(ours)} sources read, {failed} with errors")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
