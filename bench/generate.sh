#!/usr/bin/env bash
# The forward pass beside transformers and llama.cpp, with the machine's limits, into bench/results/generate.jsonl, and what it would be
# without this processor's best instructions, into instructions.jsonl there. About 10 minutes on 2 cores; the machine must have nothing else
# to do. bench/setup_peers.sh comes first. Pieces called like a model have GGUF files as they come, beside llama.cpp on the same file; their
# rows go into models.jsonl there. SHIRA_TEST_MODELS=1 scripts/setup.sh downloads the models.
#
#   bench/generate.sh [PIECE...]    all pieces, or those named; each takes less than a minute, and its rows take the place of its old ones
#   bench/generate.sh --build       builds what is measured
#   bench/generate.sh --list        the pieces
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A pieces=(
  [decode-small]="--only decode --batches 1,2,4,8"
  [decode-large]="--only decode --batches 1,16,32 --turns 3"
  [adapter-small]="--only adapter --batches 1,8 --who ours"
  [adapter-large]="--only adapter --batches 4,16 --who ours"
  [adapter-equal]="--only adapter --batches 8,16 --tables equal --who ours --turns 3"
  [prefill-short]="--only prefill --tokens 16,64,128,512"
  [prefill-long]="--only prefill --tokens 1024,2048 --turns 3"
  [f32]="--only decode,prefill --dtype float32 --batches 1,8 --tokens 128,512 --turns 3"
  [f16]="--only decode,prefill --dtype float16 --batches 1,8 --tokens 128,512 --turns 3"
)
models=(smollm2-135m gemma-3-270m qwen2.5-coder-0.5b)
for model in "${models[@]}"; do
  pieces[$model]="--model $model --only decode,prefill --batches 1,8 --tokens 256,512 --who ours,llama.cpp-file"
done
limited="--only decode,prefill --batches 1,8 --tokens 128,512 --turns 3 --who ours,transformers --instructions"
pieces[AVX-512]="$limited AVX-512"
pieces[AVX2]="$limited AVX2"
order=(decode-small decode-large adapter-small adapter-large adapter-equal prefill-short prefill-long f32 f16 AVX-512 AVX2 "${models[@]}")
case ${1:-} in
  --help) sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
  --list) printf '%s\n' "${order[@]}"; exit 0 ;;
  --build)
    cmake --preset release -DSHIRA_BUILD_BENCH=ON >/dev/null
    exec cmake --build build/release --target generate_bench ;;
esac
[ $# -gt 0 ] && order=("$@")
for piece in "${order[@]}"; do
  [ -n "${pieces[$piece]:-}" ] || { echo "no piece $piece; bench/generate.sh --list" >&2; exit 2; }
  echo "== $piece"
  rows=generate
  [[ $piece != AVX* ]] || rows=instructions
  [[ " ${models[*]} " != *" $piece "* ]] || rows=models
  # shellcheck disable=SC2086
  python3 bench/generate.py ${pieces[$piece]} --out "${OUT:-bench/results/$rows.jsonl}"
done
