#!/usr/bin/env bash
# Installs what the build needs and is missing. Does nothing when all is there.
set -euo pipefail

fail() {
  echo "setup: $1" >&2
  exit 1
}

command -v cargo > /dev/null || fail "Rust is missing; https://rustup.rs installs it"
command -v python3 > /dev/null || fail "Python 3 is missing; it fetches the encoder's weights with pip"
command -v protoc > /dev/null && exit 0

if command -v apt-get > /dev/null; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || fail "protoc is missing; install the package protobuf-compiler as root"
    as_root=(sudo)
  fi
  echo "setup: installing protobuf-compiler"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends protobuf-compiler > /dev/null
elif command -v brew > /dev/null; then
  brew install --quiet protobuf
else
  fail "protoc is missing; install protobuf's compiler, version 3.15 or newer"
fi
