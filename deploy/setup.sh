#!/usr/bin/env bash
# Installs what the build and the demo need and is missing. Does nothing when all is there.
set -euo pipefail

fail() {
  echo "setup: $1" >&2
  exit 1
}

command -v cargo > /dev/null || fail "Rust is missing; https://rustup.rs installs it"

# The packages of what is missing, by their names in Debian.
missing=()
command -v cc > /dev/null || missing+=(build-essential)
command -v protoc > /dev/null || missing+=(protobuf-compiler)
# The encoder's weights come by pip, and the demo's Python client runs in an environment of its own.
python3 -m pip --version > /dev/null 2>&1 || missing+=(python3 python3-pip)
python3 -c 'import ensurepip, venv' > /dev/null 2>&1 || missing+=(python3 python3-venv)
[ "${#missing[@]}" -gt 0 ] || exit 0

if command -v apt-get > /dev/null; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || fail "install as root: ${missing[*]}"
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
elif [ "${missing[*]}" = protobuf-compiler ] && command -v brew > /dev/null; then
  brew install --quiet protobuf
else
  fail "install what these packages of Debian hold: ${missing[*]}"
fi
