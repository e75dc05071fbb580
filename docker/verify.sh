#!/usr/bin/env bash
# Builds the image and runs it for real, without a Docker engine: docker/run_compose.py says what is checked.
#
#   docker/verify.sh [--keep]       needs root, buildah and debootstrap, 10 GB of disk, and what scripts/setup.sh makes;
#                                   about 20 minutes on 2 cores the first time, 5 when the compiler's cache is filled
#
# --keep keeps the image (localhost/shira) and the base in the local store. The base is made by debootstrap from this machine's package
# mirror; packages are fetched with this machine's settings (apt, pip, certificates), which are mounted and stay out of the image.
# TMPDIR, and BASE_ROOT=DIR (a minimal Debian 12 that is there already), as usual.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = --help ] && { sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; exit 0; }
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
readonly base=localhost/debian:bookworm-slim image=localhost/shira:latest
say() { printf '\033[1m[verify]\033[0m %s\n' "$*"; }
die() { printf '[verify] error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "needs root"
for tool in buildah debootstrap; do command -v $tool >/dev/null || die "install $tool"; done
[ -f .deps/models/smollm2-135m-instruct-q4_1.gguf ] || die "no model: run scripts/setup.sh"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/shira-image.XXXX")
cleanup() {
  [ -z "${container:-}" ] || { buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null; }
  [ "${keep:-}" = yes ] || buildah rmi -f "$image" "$base" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
[ "${1:-}" = --keep ] && keep=yes

# Debian's image without what its slim variant leaves out: packages' lists and files, documentation, translations.
make_base() {
  buildah inspect --type image "$base" >/dev/null 2>&1 && return
  local root=${BASE_ROOT:-}
  if [ -z "$root" ]; then
    root=$work/base
    local mirror; mirror=$(apt-get indextargets --format '$(SITE)' | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')
    say "making a minimal Debian"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$work/base.log" 2>&1 || { tail -3 "$work/base.log" >&2; exit 1; }
  fi
  local empty mounted; empty=$(buildah from scratch)
  buildah add -q "$empty" "$root" / >/dev/null
  mounted=$(buildah mount "$empty")
  rm -rf "$mounted"/var/lib/apt/lists/* "$mounted"/var/cache/{apt,debconf}/* "$mounted"/var/log/* "$mounted"/usr/share/{doc,info,locale,man}/*
  buildah umount "$empty" >/dev/null
  buildah config --cmd bash "$empty"
  buildah commit -q "$empty" "$base" >/dev/null
  buildah rm "$empty" >/dev/null
}

# This machine's ways to packages, for the build alone.
settings() {
  {
    env | grep -E '^(PIP_|SSL_|CURL_CA|REQUESTS_CA)' | sed 's/^\([^=]*\)=\(.*\)$/export \1="\2"/' || true
    echo 'rm -f /etc/apt/sources.list'
  } >"$work/settings"
  volumes=(--volume "$work/settings:/run/build-settings:ro")
  local path
  for path in /etc/apt/sources.list.d/debian.sources /etc/apt/apt.conf.d/99artifact-registry /etc/apt/auth.conf.d /etc/apt/keyrings \
    /etc/ssl/certs /etc/pip.conf /root/.config/pip /usr/local/share/ca-certificates /opt/wheels /opt/pypi /opt/pypi-more; do
    [ ! -e "$path" ] || volumes+=(--volume "$(readlink -f "$path"):$path:ro")
  done
}

build() {
  say "building the image (log: $work/build.log)"
  settings
  local start=$SECONDS
  buildah build --format docker --layers=false -f docker/Dockerfile -t "$image" --build-arg "BASE=$base" "${volumes[@]}" . \
    >"$work/build.log" 2>&1 || { tail -30 "$work/build.log" >&2; exit 1; }
  say "built in $((SECONDS - start)) s"
}

check() {
  container=$(buildah from "$image")
  local root part; root=$(buildah mount "$container")
  [ "$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$image")" = 65532:65532 ] || die "the image's user is root"
  find "$root" -xdev -name '*.list' -path '*sources*' -newer docker/Dockerfile | grep . && die "a package source of this machine stayed in the image"
  for part in python3 gcc cc1plus ld git; do
    find "$root" -xdev -name "$part" -type f | grep . && die "$part is in the image"
  done
  say "size in MB: $(du -sm "$root" | cut -f1), of which the base $(du -sm "$(buildah mount "$(buildah from --name "$container-base" "$base")")" | cut -f1)," \
    "LibTorch $(du -sm "$root/opt/shira/lib" | cut -f1), the programs $(du -sm "$root/opt/shira/bin" | cut -f1), packages the rest;" \
    "compressed $(tar -C "$root" -c . | gzip -1 | wc -c | awk '{print int($1 / 2^20)}')"
  buildah rm "$container-base" >/dev/null
  say "running it as docker/compose.yaml says"
  unshare --net --mount .deps/venv/bin/python docker/run_compose.py "$root"
  say "the image is good"
}

make_base
build
check
