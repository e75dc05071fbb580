#!/usr/bin/env bash
# Sets up, builds and runs every test through ctest.
#
#   scripts/test.sh [--preset NAME] [CTEST ARGUMENTS...]
#
# Presets: release (the default), debug, asan, tsan. Everything after it goes to ctest: `scripts/test.sh -R Switch` runs the tests that match.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
preset=release
[ "${1:-}" = --preset ] && { preset=$2; shift 2; }

scripts/build.sh --preset "$preset"
printf '\033[1m[test]\033[0m %s\n' "running the tests"
ctest --test-dir "build/$preset" --output-on-failure --parallel "$(nproc)" "$@"
