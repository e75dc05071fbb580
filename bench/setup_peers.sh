#!/usr/bin/env bash
# What the benchmarks compare with, in .deps/peers, beside what scripts/setup.sh made. Idempotent. The first run writes the demo model's
# weights for every peer (1.7 GB). Needs Node.js 20 or later with npm.
#
#   bench/setup_peers.sh [--help]
#
#   .deps/peers/node    llama.cpp as the npm package node-llama-cpp, which its makers have compiled for every kind of processor
#   .deps/peers/files   one set of weights in every peer's format, adapters for the load (bench/peer_files.py)
#
# transformers and PEFT are in .deps/venv already: the tests compare with them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
readonly llama_cpp=3.22.1  # of node-llama-cpp, with llama.cpp v0.5.0
readonly peers=.deps/peers
say() { printf '\033[1m[peers]\033[0m %s\n' "$*"; }

[ -x .deps/venv/bin/python ] || scripts/setup.sh
mkdir -p "$peers"
if [ "$(cat "$peers/.llama_cpp" 2>/dev/null)" != "$llama_cpp" ]; then
  command -v npm >/dev/null || { echo "[peers] error: npm is missing: install Node.js 20 or later" >&2; exit 1; }
  say "llama.cpp: node-llama-cpp $llama_cpp"
  rm -rf "$peers/node"; mkdir -p "$peers/node"
  # Its optional packages are builds for other systems and GPUs, a gigabyte of them.
  npm install --prefix "$peers/node" --ignore-scripts --omit=optional "node-llama-cpp@$llama_cpp" >"$peers/npm.log" 2>&1 &&
    npm install --prefix "$peers/node" --ignore-scripts --omit=optional "@node-llama-cpp/linux-x64@$llama_cpp" >>"$peers/npm.log" 2>&1 ||
    { tail -5 "$peers/npm.log" >&2; echo "[peers] error: see $peers/npm.log" >&2; exit 1; }
  printf '%s' "$llama_cpp" >"$peers/.llama_cpp"
fi
say "weights and adapters"
.deps/venv/bin/python -W ignore bench/peer_files.py "$peers/files"
say ready
