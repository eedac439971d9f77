#!/usr/bin/env bash
# Asks a real server of OpenAI's protocol, with a model that this script makes, for answers.
# Not part of `make test`: it downloads Python wheels once.
#
#     deploy/openai/test.sh CHECK     CHECK is the built example `openai_server`
set -euo pipefail

check=$1
here=$(dirname "$(readlink -f "$0")")
work=${OPENAI_TEST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/trivium/openai-test}
port=${OPENAI_TEST_PORT:-7790}
mkdir -p "$work"

if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
fi
"$work/venv/bin/pip" install --quiet --only-binary :all: --requirement "$here/requirements.txt"
"$work/venv/bin/python" "$here/tiny_model.py" "$work/tiny.gguf"

"$work/venv/bin/python" "$here/serve.py" "$work/tiny.gguf" "$port" right-key >"$work/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT

OPENAI_TEST_KEY=right-key "$check" "http://127.0.0.1:$port/v1" tiny OPENAI_TEST_KEY
