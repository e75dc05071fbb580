#!/usr/bin/env bash
# Sets up and builds.
#
#   scripts/build.sh [--preset NAME] [TARGET...]      presets: release (the default), debug, asan, tsan
#
# The environment is scripts/setup.sh's: with SHIRA_SYSTEM_GRPC=1 the programs link the system's gRPC.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
preset=release
[ "${1:-}" = --preset ] && { preset=$2; shift 2; }

# gRPC of our own would need an abseil of its own there.
[ "$preset" != tsan ] || export SHIRA_TSAN=1 SHIRA_SYSTEM_GRPC=1
scripts/setup.sh
say() { printf '\033[1m[build]\033[0m %s\n' "$*"; }
log=build/$preset.configure.log
mkdir -p build
say "configuring build/$preset"
cmake --preset "$preset" "-DSHIRA_SYSTEM_GRPC=${SHIRA_SYSTEM_GRPC:-OFF}" >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
say "compiling (5 to 10 minutes on 2 cores the first time, seconds after that)"
cmake --build "build/$preset" ${1:+--target "$@"}
