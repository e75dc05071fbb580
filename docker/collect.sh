#!/usr/bin/env bash
# What the programs need to run, and nothing else, in the layout of the image.
#
#   docker/collect.sh BUILD OUT     BUILD is the build's folder; OUT gets opt/shira/{bin,lib} and `packages`, the names of the Debian
#                                   packages that hold the other libraries
set -euo pipefail
build=$1 out=$2
mkdir -p "$out/opt/shira/lib"
for folder in server client/cli; do cmake --install "$build/$folder" --prefix "$out/opt/shira" --strip >/dev/null; done
rm -f "$out/opt/shira/bin/shira-adapter"

libraries=$(ldd "$build/bin/shira-server" "$build/bin/shira" | awk '$2 == "=>" && $3 ~ "^/" {print $3}' | sort -u)
if grep -q '/libgrpc' <<<"$libraries"; then
  echo "collect: these programs link the system's gRPC, whose published faults are open (docs/security.md)" >&2
  exit 1
fi
for library in $libraries; do
  # LibTorch and what comes with it: the programs' RPATH leads there. Its table of local symbols is 89 MB of 434.
  case $library in */torch/lib/*) install -m 644 "$library" "$out/opt/shira/lib/" ;; esac
done
strip --strip-unneeded "$out"/opt/shira/lib/*
# A library is looked up under both of its names, since /lib is a link to /usr/lib but packages may say either.
for library in $(grep -v /torch/lib/ <<<"$libraries"); do
  dpkg-query -S "$(readlink -f "$library")" 2>/dev/null || dpkg-query -S "$library"
done | cut -d: -f1 | sort -u >"$out/packages"
