#!/usr/bin/env bash
# What programs can say about the sources without building them: clang-format, clang-tidy with its analysis of locks, ruff and mypy.
#
#   scripts/lint.sh [--fix]      --fix: clang-format and ruff mend what they can
#
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,4p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
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
say "clang-tidy: every source that is not a test, the locks that it holds among the rest (5 minutes on 2 cores)"
# A build folder of its own: there are neither unity builds in it nor precompiled headers, which are GCC's. Nothing but protos is made.
cmake --preset release -B build/lint -DCMAKE_UNITY_BUILD=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSHIRA_BUILD_BENCH=ON >build/lint.log 2>&1 ||
  { tail -20 build/lint.log >&2; exit 1; }
ninja -C build/lint $(ninja -C build/lint -t targets rule CUSTOM_COMMAND | grep 'pb\.h$') >build/lint.log
scripts/clang_tidy.py build/lint
say "in order"
