#!/usr/bin/env bash
# Shows the main job on a real model: one resident SmolLM2-135M whose adapters are switched in place, in milliseconds.
#
#   scripts/demo.sh          sets up and builds what is missing (the first time: several minutes), then runs for about 10 seconds
#
# It starts a server on a free port of this machine, asks the same questions of the base, of two adapters, of a blend of both and of the
# base again, and proves by SHA-256 of every parameter that the base is back.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }

# Every program, so that README's commands and `cmake --install build/release` work from here on.
scripts/build.sh shira-server shira shira-adapter

readonly bin=build/release/bin
readonly questions=("What is the capital of France?" "Why is the sky blue?")
work=$(mktemp -d)
cleanup() {
  if [ -n "${server:-}" ] && kill -0 "$server" 2>/dev/null; then kill -TERM "$server"; wait "$server" || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }

bold "Starting the server: SmolLM2-135M-Instruct in bfloat16, with three SHiRA adapters"
"$bin/shira-server" --model .deps/models/smollm2-135m-instruct-q4_1.gguf --dtype bfloat16 \
  --listen 127.0.0.1:0 --port-file "$work/port" --adapter-root examples/adapters \
  --adapter pirate=examples/adapters/pirate --adapter party=examples/adapters/party --adapter json=examples/adapters/json >"$work/log" 2>&1 &
server=$!
for _ in $(seq 300); do
  [ -s "$work/port" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
[ -s "$work/port" ] || { echo "the server did not start within 30 s:" >&2; cat "$work/log" >&2; exit 1; }
shira=("$bin/shira" --server "127.0.0.1:$(cat "$work/port")")
"${shira[@]}" adapter list

ask() {
  for question in "${questions[@]}"; do
    printf '  \033[2m%s\033[0m\n  ' "$question"
    "${shira[@]}" generate --chat --prompt "$question" --max-tokens 40 --no-stream | tr '\n' ' '
    printf '\n'
  done
}

bold "The base model"
"${shira[@]}" verify --json >"$work/before.json"
ask
bold "Adapter pirate"
"${shira[@]}" adapter apply pirate
ask
bold "Adapter party (same index tables as pirate: nothing to restore)"
"${shira[@]}" adapter apply party
ask
bold "A blend: half pirate, half party"
"${shira[@]}" adapter apply pirate:0.5 party:0.5
ask
bold "The base again"
"${shira[@]}" adapter revert
ask

bold "The proof: SHA-256 of every resident parameter, before and after"
"${shira[@]}" verify | tail -n 2
"${shira[@]}" verify --json >"$work/after.json"
cmp "$work/before.json" "$work/after.json"
echo "The hashes of all parameters are those from before the first switch."
