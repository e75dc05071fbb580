#!/usr/bin/env bash
# Builds the image and runs it for real, without a Docker engine: it starts as a non-root user on a read-only root, becomes healthy,
# generates, drains on SIGTERM, and its size is printed.
#
#   docker/verify.sh [--keep]       needs root, buildah and debootstrap, 10 GB of disk, and a model in .deps/models (scripts/setup.sh);
#                                   about 15 minutes on 2 cores, less with a compiler cache
#
# --keep keeps the image (localhost/shira) and the base in the local store. The base is made by debootstrap from this machine's package
# mirror; packages are fetched with this machine's settings (apt, pip, certificates), which are mounted and stay out of the image.
# TMPDIR, BASE_ROOT=DIR (a minimal Debian 12 that is there already), CCACHE_DIR as usual.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
readonly base=localhost/debian:bookworm-slim image=localhost/shira:latest
say() { printf '\033[1m[verify]\033[0m %s\n' "$*"; }
die() { printf '[verify] error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "needs root"
for tool in buildah debootstrap ccache; do command -v $tool >/dev/null || die "install $tool"; done
readonly model=$PWD/.deps/models/smollm2-135m-instruct-q4_1.gguf
[ -f "$model" ] || die "no model: run scripts/setup.sh"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/shira-image.XXXX")
cleanup() {
  [ -z "${server:-}" ] || kill -KILL "$server" 2>/dev/null || true
  [ -z "${container:-}" ] || { buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null; }
  [ "${keep:-}" = yes ] || buildah rmi -f "$image" "$base" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
[ "${1:-}" = --keep ] && keep=yes

make_base() {
  buildah inspect --type image "$base" >/dev/null 2>&1 && return
  local root=${BASE_ROOT:-}
  if [ -z "$root" ]; then
    root=$work/base
    local mirror; mirror=$(apt-get indextargets --format '$(SITE)' | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')
    say "making a minimal Debian"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$work/base.log" 2>&1 || { tail -3 "$work/base.log" >&2; exit 1; }
  fi
  local empty; empty=$(buildah from scratch)
  buildah add -q "$empty" "$root" / >/dev/null
  buildah config --cmd bash "$empty"
  buildah commit -q "$empty" "$base" >/dev/null
  buildah rm "$empty" >/dev/null
}

# This machine's ways to packages, for the build alone.
settings() {
  {
    env | grep -E '^(PIP_|SSL_|CURL_CA|REQUESTS_CA)' | sed 's/^\([^=]*\)=\(.*\)$/export \1="\2"/' || true
    echo 'rm -f /etc/apt/sources.list; export CCACHE_DIR=/var/cache/ccache'
  } >"$work/settings"
  volumes=(--volume "$work/settings:/run/build-settings:ro")
  local path
  for path in /etc/apt/sources.list.d/debian.sources /etc/apt/apt.conf.d/99artifact-registry /etc/apt/auth.conf.d /etc/apt/keyrings \
    /etc/ssl/certs /etc/pip.conf /root/.config/pip /usr/local/share/ca-certificates /opt/wheels /opt/pypi /opt/pypi-more; do
    [ ! -e "$path" ] || volumes+=(--volume "$(readlink -f "$path"):$path:ro")
  done
  volumes+=(--volume "${CCACHE_DIR:-$(ccache --get-config cache_dir)}:/var/cache/ccache")
}

build() {
  say "building the image (log: $work/build.log)"
  settings
  # In the build stage the tree lies where it lies here, so that this machine's compiler cache fits.
  buildah build --format docker --layers=false -f docker/Dockerfile -t "$image" --build-arg "BASE=$base" --build-arg "SOURCE=$PWD" \
    "${volumes[@]}" . >"$work/build.log" 2>&1 || { tail -30 "$work/build.log" >&2; exit 1; }
}

# Runs a command in the image as its user, with a read-only root, /tmp in memory, and the model and the adapters as read-only volumes.
confined() {
  unshare --mount --pid --fork --kill-child=SIGKILL bash -euo pipefail -c '
    root=$1 model=$2 adapters=$3; shift 3
    mount --bind "$root" "$root"
    mount --bind "$model" "$root/models"; mount -o remount,bind,ro "$root/models"
    mount --bind "$adapters" "$root/adapters"; mount -o remount,bind,ro "$root/adapters"
    mount -t tmpfs -o size=64m tmpfs "$root/tmp"
    mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
    mount -o remount,bind,ro "$root"
    exec chroot --userspec=65532:65532 "$root" /usr/bin/env -i PATH=/opt/shira/bin:/usr/bin:/bin "$@"
  ' confined "$root" "$(dirname "$model")" "$PWD/examples/adapters" "$@"
}

check() {
  container=$(buildah from "$image")
  root=$(buildah mount "$container")
  [ "$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$image")" = 65532:65532 ] || die "the image's user is root"
  say "size: $(du -sm "$root" | cut -f1) MB, of which LibTorch $(du -sm "$root/opt/shira/lib" | cut -f1) MB"
  find "$root" -xdev -name '*.list' -path '*sources*' -newer docker/Dockerfile | grep . && die "a package source of this machine stayed in the image"

  local port; port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  say "starting on a read-only root"
  confined shira-server --model "/models/$(basename "$model")" --dtype bfloat16 --listen "127.0.0.1:$port" --adapter-root /adapters \
    --adapter pirate=/adapters/pirate >"$work/server.log" 2>&1 &
  server=$!
  shira=(confined shira --server "127.0.0.1:$port")
  local healthy=
  for _ in $(seq 120); do
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; die "the server ended"; }
    "${shira[@]}" status >"$work/status.log" 2>&1 && { healthy=yes; break; }
    sleep 0.5
  done
  [ -n "$healthy" ] || { cat "$work/server.log" "$work/status.log" >&2; die "not healthy"; }
  cat "$work/status.log"
  say "generating"
  "${shira[@]}" generate --chat --adapter pirate --prompt "What is the capital of France?" --max-tokens 24
  confined sh -c 'id -u; touch /nothing 2>&1 || true' | tee "$work/confined.log"
  grep -qx 65532 "$work/confined.log" && grep -q "Read-only file system" "$work/confined.log" || die "not confined"

  say "draining: a stream under way ends, then the server"
  "${shira[@]}" generate --prompt "Once upon a time" --max-tokens 150 --ignore-eos --json >"$work/stream.json" 2>"$work/stream.log" &
  local stream=$!
  sleep 1
  kill -TERM "$(pgrep -f -n "shira-server --model .* --listen 127.0.0.1:$port")"
  wait "$stream" || { cat "$work/stream.log" >&2; die "the stream was cut"; }
  local code=0; wait "$server" || code=$?
  server=
  [ "$code" = 0 ] || { cat "$work/server.log" >&2; die "the server ended with $code"; }
  say "drained; the image is good"
}

make_base
build
check
