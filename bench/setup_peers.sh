#!/usr/bin/env bash
# What the benchmarks compare with, in .deps/peers, beside what scripts/setup.sh made. Idempotent. The first run compiles llama.cpp (5 to 10
# minutes on 2 cores) and writes the demo model's weights for every peer (1.7 GB).
#
#   bench/setup_peers.sh [--help]
#
#   .deps/peers/venv    llama.cpp as the Python package llama-cpp-python, compiled for this machine's processor
#   .deps/peers/files   one set of weights in every peer's format, adapters for the load (bench/peer_files.py)
#
# transformers and PEFT are in .deps/venv already: the tests compare with them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
readonly llama_cpp=llama-cpp-python==0.3.36
readonly peers=.deps/peers
say() { printf '\033[1m[peers]\033[0m %s\n' "$*"; }

[ -x .deps/venv/bin/python ] || scripts/setup.sh
mkdir -p "$peers"
# GGML_NATIVE compiles for the processor at hand (AVX-512 and its bf16 where they are), so another processor means another build.
stamp="$llama_cpp $(grep -m1 '^flags' /proc/cpuinfo | sha256sum | cut -c1-16)"
if [ "$(cat "$peers/.llama_cpp" 2>/dev/null)" != "$stamp" ]; then
  say "compiling llama.cpp for this processor ($llama_cpp)"
  rm -rf "$peers/venv"
  python3 -m venv "$peers/venv"
  CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF -DMTMD_BUILD=OFF" \
    "$peers/venv/bin/python" -m pip --disable-pip-version-check install --no-cache-dir --no-binary llama-cpp-python "$llama_cpp" \
    >"$peers/llama_cpp.log" 2>&1 || { tail -5 "$peers/llama_cpp.log" >&2; echo "[peers] error: see $peers/llama_cpp.log" >&2; exit 1; }
  printf '%s' "$stamp" >"$peers/.llama_cpp"
fi
say "weights and adapters"
.deps/venv/bin/python -W ignore bench/peer_files.py "$peers/files"
say ready
