#!/usr/bin/env bash
# What programs can say about the sources without building them: clang-format, clang's thread-safety analysis, ruff and mypy.
#
#   scripts/lint.sh [--fix]      --fix: clang-format and ruff mend what they can
#
# The sources have to be configured (scripts/build.sh), since the analysis takes its options from there.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
SHIRA_LINT=1 scripts/setup.sh
say() { printf '\033[1m[lint]\033[0m %s\n' "$*"; }
bin=.deps/venv/bin
format=(--dry-run -Werror) ruff=()
[ "${1:-}" = --fix ] && { format=(-i); ruff=(--fix); }

say "clang-format: C++"
find adapters base bench client server tests tools -name '*.h' -o -name '*.cc' | xargs clang-format "${format[@]}"
say "ruff and mypy: Python"
"$bin/ruff" check --quiet "${ruff[@]}" bench tests examples scripts findings
"$bin/mypy" --config-file mypy.ini bench scripts tests examples
say "clang: the locks that are held where the annotations say so"
scripts/check_thread_safety.py
say "in order"
