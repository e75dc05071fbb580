#!/usr/bin/env bash
# Sets up, builds and runs tests through ctest: every one, or what is in some folders of tests/.
#
#   scripts/test.sh [--preset NAME] [--folder FOLDER]... [CTEST ARGUMENTS...]
#
# Presets: release (the default), debug, asan, tsan. With folders no more is built than they need: `scripts/test.sh --preset tsan --folder
# server/engine`. Everything after these goes to ctest: `scripts/test.sh -R Switch` runs the tests that match. Some tests run on
# real models and chat templates, 0.8 GB, which are downloaded once for all clones; with SHIRA_TEST_MODELS=0 they are not.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
preset=release folders=()
[ "${1:-}" = --preset ] && { preset=$2; shift 2; }
while [ "${1:-}" = --folder ]; do folders+=("tests/$2"); shift 2; done

case " ${folders[*]:-tests/integration} " in *" tests/integration "* | *" tests/server/jinja "*) export SHIRA_TEST_MODELS=${SHIRA_TEST_MODELS:-1} ;; esac
scripts/build.sh --preset "$preset" "${folders[@]/%//all}"
printf '\033[1m[test]\033[0m %s\n' "running the tests"
for folder in "${folders[@]:-.}"; do
  ctest --test-dir "build/$preset/$folder" --output-on-failure --parallel "$(nproc)" "$@"
done
