#!/usr/bin/env bash
# Starts Phoenix and the three services as processes of their own, asks the demo's questions, asserts the span tree of each
# through Phoenix's API, and leaves a screenshot of one trace at docs/images/trace.png.
#
# TRIVIUM names the binary. Phoenix comes from PyPI into a virtual environment under the cache folder, once; everything
# listens on loopback, and nothing but that download leaves the machine. Chromium takes the picture; without it the rest
# is asserted all the same. KEEP=1 leaves everything running, to look around.
set -euo pipefail
cd "$(dirname "$0")/../.."

trivium=${TRIVIUM:?names the binary}
keep=${KEEP:-}
venv=${XDG_CACHE_HOME:-$HOME/.cache}/trivium/phoenix
work=$(mktemp -d)
python=$venv/bin/python
here=deploy/trace-demo
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }

stop() {
  local pid
  # Those who call go before those who are called; Phoenix last, for it takes the last spans.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    pid=${pids[i]}
    kill -TERM "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
  done
  pids=()
}

fail() {
  printf 'trace-demo: %s\n' "$1" >&2
  exit 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Waits until a command succeeds, for as long as a process lives.
await() {
  local pid=$1 log=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    if ! kill -0 "$pid" 2> /dev/null; then
      tail -n 20 "$log" >&2
      fail "a process has ended before it was ready"
    fi
    sleep 0.2
  done
}

# The settings keep Phoenix on this machine: no statistics, no fonts from elsewhere, no assistant that runs commands.
start_phoenix() {
  if ! [ -x "$venv/bin/phoenix" ]; then
    say "Fetching Phoenix into $venv"
    python3 -m venv "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  fi
  port=$(free_port)
  grpc_port=$(free_port)
  PHOENIX_WORKING_DIR=$work/phoenix PHOENIX_HOST=127.0.0.1 PHOENIX_PORT=$port PHOENIX_GRPC_PORT=$grpc_port \
    PHOENIX_TELEMETRY_ENABLED=false PHOENIX_ALLOW_EXTERNAL_RESOURCES=false PHOENIX_DISABLE_AGENT_ASSISTANT=true \
    PHOENIX_AGENTS_DISABLE_BASH=true PHOENIX_AGENTS_DISABLE_WEB_ACCESS=true PHOENIX_ENABLE_MCP_SERVER=false \
    "$venv/bin/phoenix" serve > "$work/phoenix.log" 2>&1 &
  pids+=($!)
  await $! "$work/phoenix.log" curl -fsS "http://127.0.0.1:$port/healthz"
}

# Starts one service; its address is then in `addr`.
serve() {
  local name=$1
  shift
  "$trivium" serve "$name" --addr 127.0.0.1:0 "$@" > "$work/$name.ready" 2> "$work/$name.log" &
  pids+=($!)
  await $! "$work/$name.log" grep -q '^ready ' "$work/$name.ready"
  addr=$(sed -n "s/^ready .*\b$name=\([^ ]*\).*/\1/p" "$work/$name.ready")
}

trap stop EXIT
mkdir -p "$work/phoenix"
say "Starting Phoenix"
start_phoenix

export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$grpc_port OTEL_METRICS_EXPORTER=none
# The batches go out at once, so that the picture has them.
export OTEL_BSP_SCHEDULE_DELAY=200 OTEL_RESOURCE_ATTRIBUTES=openinference.project.name=trivium
# The documents and questions are this project's own.
export TRIVIUM_TELEMETRY__CAPTURE_CONTENT=true

say "Starting the model host, the retriever and the router"
serve model-host
export TRIVIUM_MODEL_HOST_ENDPOINT=http://$addr
TRIVIUM_RETRIEVER__MODEL_HOST__ENDPOINT=http://$addr serve retriever --data "$work/data"
export TRIVIUM_RETRIEVER_ENDPOINT=http://$addr
TRIVIUM_ROUTER__MODEL_HOST__ENDPOINT=$TRIVIUM_MODEL_HOST_ENDPOINT \
  TRIVIUM_ROUTER__RETRIEVER__ENDPOINT=$TRIVIUM_RETRIEVER_ENDPOINT serve router
export TRIVIUM_ENDPOINT=http://$addr

say "Ingesting this project's documentation"
# Sampling is the caller's choice: these traces are not wanted.
OTEL_TRACES_SAMPLER=always_off "$trivium" ingest README.md docs/guides docs/errors

say "Asking one question for each road"
ask() {
  local road=$1 question=$2
  "$trivium" ask --json "$question" > "$work/$road.json" || fail "\"$question\" was not answered"
  printf '  %-9s %s\n' "$road" "$question"
}
ask lexical "What does EMBEDDER_MISMATCH mean?"
ask semantic "Who decides whether a trace is sampled?"
ask hybrid "How do I ingest a folder of Markdown files?"
ask reply "Hi, how are you today?"

say "Asserting the span trees through Phoenix's API"
page=$(python3 "$here/check.py" "http://127.0.0.1:$port" "$work")

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
  say "Taking the picture"
  mkdir -p docs/images
  "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/browser" \
    --window-size="${SIZE:-1700,1450}" --virtual-time-budget=20000 --screenshot="$work/trace.png" "$page" > "$work/browser.log" 2>&1
  mv "$work/trace.png" docs/images/trace.png
  echo "docs/images/trace.png"
else
  echo "There is no Chromium (Debian's package chromium), so no picture was taken."
fi

if [ -n "$keep" ]; then
  say "Look around at $page; Ctrl-C stops everything"
  wait
fi
