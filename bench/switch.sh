#!/usr/bin/env bash
# Every figure about the switch in one run: PEFT's switch, then ours beside LibTorch's kernels and the memory's limit. About 15 minutes on
# 2 cores; the machine must have nothing else to do.
#
#   bench/switch.sh [OUT.jsonl]        default: bench/results/switch.jsonl, written anew
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
out=${1:-bench/results/switch.jsonl}
scripts/setup.sh
cmake --preset release -DSHIRA_BUILD_BENCH=ON >/dev/null
cmake --build build/release --target switch_bench
adapters=$(mktemp -d)
trap 'rm -rf "$adapters"' EXIT
rm -f "$out"
.deps/venv/bin/python -W ignore bench/peft_switch.py --adapters "$adapters" --out "$out"
build/release/bin/switch_bench --adapters "$adapters" --out "$out"
build/release/bin/switch_bench --model llama7b --layers 3 --out "$out"
.deps/venv/bin/python bench/plot_switch.py "$out" docs/switch.svg
