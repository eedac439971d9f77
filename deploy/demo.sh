#!/usr/bin/env bash
# Starts Trivium, ingests this project's documentation, and asks one question for each road.
#
# TRIVIUM names the binary. With ONCE=1 the services listen on free ports, are stopped at
# the end, and the exit code is 0 only if every question took its road and every
# retrieved answer cites a passage. Otherwise they listen on the usual ports and stay.
set -euo pipefail
cd "$(dirname "$0")/.."

trivium=${TRIVIUM:?names the binary}
once=${ONCE:-}
demo=.demo
failures=0
mkdir -p "$demo"

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }

fail() {
  printf 'demo: %s\n' "$1" >&2
  failures=$((failures + 1))
}

stop() {
  local pid
  pid=$(cat "$demo/pid" 2> /dev/null) || return 0
  rm -f "$demo/pid"
  # The number may have gone to another process since, so its name is asked for.
  case $(cat "/proc/$pid/comm" 2> /dev/null || ps -o comm= -p "$pid" 2> /dev/null) in
    *trivium)
      kill -TERM "$pid"
      while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
      ;;
  esac
}

start() {
  local ports=()
  if [ -n "$once" ]; then
    ports=(--router-addr 127.0.0.1:0 --retriever-addr 127.0.0.1:0 --model-host-addr 127.0.0.1:0)
  fi
  "$trivium" up --data "$demo/data" "${ports[@]}" > "$demo/ready" 2> "$demo/trivium.log" &
  local pid=$!
  echo "$pid" > "$demo/pid"
  until grep -q '^ready ' "$demo/ready"; do
    if ! kill -0 "$pid" 2> /dev/null; then
      tail -n 5 "$demo/trivium.log" >&2
      rm -f "$demo/pid"
      echo "demo: the services did not start" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# The address of one service, from the line that says that all are ready.
address() { sed -n "s/^ready .*\b$1=\([^ ]*\).*/\1/p" "$demo/ready"; }

# One field of the last decision or answer; of a list its length.
field() {
  python3 - "$1" "$demo/last.json" << 'END'
import json, sys
value = json.load(open(sys.argv[2]))[sys.argv[1]]
print(len(value) if isinstance(value, list) else value)
END
}

# Asks a question, shows the answer, and checks the road and that a retrieved answer cites.
ask() {
  local road=$1 question=$2
  say "$road: $question"
  if ! "$trivium" ask "$question" || ! "$trivium" ask --json "$question" > "$demo/last.json"; then
    fail "\"$question\" was not answered"
    return 0
  fi
  if [ "$(field route)" != "$road" ]; then
    fail "\"$question\" took the road $(field route), not $road"
  fi
  case $road in
    lexical | semantic | hybrid)
      if [ "$(field citations)" -eq 0 ]; then fail "the answer to \"$question\" cites nothing"; fi
      ;;
  esac
}

# The direct road needs a language model. None is configured here, so the decision is
# shown, and what the road answers without one.
ask_directly() {
  local question=$1
  say "direct: $question"
  "$trivium" route "$question"
  "$trivium" route --json "$question" > "$demo/last.json"
  if [ "$(field route)" != direct ]; then
    fail "\"$question\" would take the road $(field route), not direct"
  fi
  if "$trivium" ask --json "$question" > /dev/null 2> "$demo/refusal"; then
    echo "  A language model is configured, and answered."
  elif grep -q NO_GENERATOR "$demo/refusal"; then
    sed 's/^/  /' "$demo/refusal"
  else
    cat "$demo/refusal" >&2
    fail "the direct road failed otherwise than by NO_GENERATOR"
  fi
}

# The Python client of the README, with stubs made of proto/.
python_client() {
  local question=$1 python="$demo/venv/bin/python"
  say "The same from Python, streamed: $question"
  if ! "$python" -c 'import grpc, grpc_tools' 2> /dev/null; then
    python3 -m venv "$demo/venv"
    if ! "$python" -m pip install --quiet --disable-pip-version-check grpcio grpcio-tools; then
      fail "pip cannot fetch grpcio and grpcio-tools, so the Python client was not run"
      return 0
    fi
  fi
  mkdir -p "$demo/stubs"
  find proto/trivium -name '*.proto' -exec \
    "$python" -m grpc_tools.protoc -I proto --python_out="$demo/stubs" --grpc_python_out="$demo/stubs" {} +
  PYTHONPATH="$demo/stubs" "$python" examples/python/stream_answer.py "$(address router)" "$question" \
    || fail "the Python client got no answer"
}

next_commands() {
  say "The services go on running (log: $demo/trivium.log). Next:"
  cat << END
  $trivium ask "How do I roll back a policy?" --explain
  $trivium search "NO_GENERATOR" --legs lexical
  $trivium ingest --collection handbook PATH      # Markdown, text, JSON lines
  $trivium bench
  kill $(cat "$demo/pid")                                     # stops them
END
}

stop
if [ -n "$once" ]; then trap stop EXIT; fi
say "Starting the router, the retriever and the model host"
start
cat "$demo/ready"
TRIVIUM_ENDPOINT="http://$(address router)"
TRIVIUM_RETRIEVER_ENDPOINT="http://$(address retriever)"
TRIVIUM_MODEL_HOST_ENDPOINT="http://$(address model-host)"
export TRIVIUM_ENDPOINT TRIVIUM_RETRIEVER_ENDPOINT TRIVIUM_MODEL_HOST_ENDPOINT

say "Ingesting this project's documentation"
"$trivium" ingest README.md ARCHITECTURE.md CHANGELOG.md docs

ask lexical "What does EMBEDDER_MISMATCH mean?"
ask semantic "Who decides whether a trace is sampled?"
ask hybrid "How do I ingest a folder of Markdown files?"
ask_directly "Translate into French: \"The road divides here.\""
ask reply "Hi, how are you today?"
python_client "How is one query traced across the services?"

if [ "$failures" -gt 0 ]; then
  echo "demo: $failures checks failed" >&2
elif [ -z "$once" ]; then
  next_commands
else
  say "Every question took its road, and every retrieved answer cites a passage."
fi
if [ -n "$once" ]; then exit "$((failures > 0))"; fi
