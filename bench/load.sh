#!/usr/bin/env bash
# A server under load, with PEFT and llama.cpp beside it, into bench/results/load.jsonl. About 10 minutes on 2 cores; the machine must have
# nothing else to do. bench/setup_peers.sh comes first.
#
#   bench/load.sh [PIECE...]       all pieces, or those named; each takes about a minute, and its rows take the place of its old ones
#   bench/load.sh --build          builds what is measured
#   bench/load.sh --references     runs every request of every piece alone first; needs no quiet machine. The pieces do it where it is missing
#   bench/load.sh --list           the pieces
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-bench/results/load.jsonl}
declare -A pieces=(
  [streams-8]="streams --streams 8 --adapters 1,4,8"
  [streams-16]="streams --streams 16 --adapters 1,16"
  [streams-8-equal]="streams --streams 8 --adapters 1,4,8 --tables equal"
  [streams-16-equal]="streams --streams 16 --adapters 1,16 --tables equal"
  [peers-8]="peers --streams 8 --adapters 4 --turns 2"
  [peers-8-lora]="peers --streams 8 --adapters 1,8 --ways base,lora --turns 3"
  [zipf-light]="zipf --rate 1.5 --seed 1"
  [zipf-1]="zipf --rate 3 --seed 1"
  [zipf-2]="zipf --rate 3 --seed 2"
  [zipf-3]="zipf --rate 3 --seed 3"
  [zipf-slices]="zipf --rate 3 --seed 1 --modes slices"
)
order=(streams-8 streams-16 streams-8-equal streams-16-equal peers-8 peers-8-lora zipf-light zipf-1 zipf-2 zipf-3 zipf-slices)
more=()
case ${1:-} in
  --help) sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
  --list) printf '%s\n' "${order[@]}"; exit 0 ;;
  --references) more=(--references-only); shift ;;
  --build)
    cmake --preset release -DSHIRA_BUILD_BENCH=ON >/dev/null
    exec cmake --build build/release --target load_client shira-server ;;
esac
[ $# -gt 0 ] && order=("$@")
for piece in "${order[@]}"; do
  [ -n "${pieces[$piece]:-}" ] || { echo "no piece $piece; bench/load.sh --list" >&2; exit 2; }
  echo "== $piece"
  # shellcheck disable=SC2086
  .deps/venv/bin/python bench/load.py ${pieces[$piece]} "${more[@]}" --out "$out"
done
