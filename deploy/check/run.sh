#!/usr/bin/env bash
# Checks what is in deploy/: run.sh manifests | alerts | images | audit | rolling TRIVIUM | rotation TRIVIUM | overhead TRIVIUM | write.
#
# Installs what that needs and is missing: Python packages into an environment of its own, promtool out of Debian's
# package without its daemon. kubectl must be there.
set -euo pipefail
cd "$(dirname "$0")"

tools="${XDG_CACHE_HOME:-$HOME/.cache}/trivium/checks"
python="$tools/venv/bin/python"

fail() {
  echo "deploy/check: $1" >&2
  exit 1
}

# The environment is made anew when what belongs into it has changed.
python_packages() {
  cmp -s requirements.txt "$tools/requirements.txt" && return 0
  echo "deploy/check: installing $(grep -c '==' requirements.txt) Python packages"
  rm -rf "$tools/venv"
  mkdir -p "$tools"
  python3 -m venv "$tools/venv"
  "$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
  cp requirements.txt "$tools/requirements.txt"
}

# Debian's package starts a server where it is installed, so its files are taken out and it is not.
promtool() {
  if ! command -v promtool > /dev/null && [ ! -x "$tools/prometheus/usr/bin/promtool" ]; then
    command -v apt-get > /dev/null || fail "promtool is missing; it comes with Prometheus"
    echo "deploy/check: fetching promtool"
    mkdir -p "$tools/prometheus"
    if ! (cd "$tools/prometheus" && apt-get download -qq prometheus 2> /dev/null); then
      apt-get update -qq
      (cd "$tools/prometheus" && apt-get download -qq prometheus)
    fi
    dpkg -x "$tools"/prometheus/*.deb "$tools/prometheus"
  fi
  PATH="$PATH:$tools/prometheus/usr/bin" command promtool "$@"
}

needs_kubectl() {
  command -v kubectl > /dev/null || fail "kubectl is missing; version 1.27 or later renders the manifests"
}

# Runs a script of deploy/bench against the binary, in an environment with gRPC.
bench() {
  local script=$1 trivium=$2
  shift 2
  if [ ! -x "$tools/grpc/bin/python" ]; then
    python3 -m venv "$tools/grpc"
    "$tools/grpc/bin/python" -m pip install --quiet --disable-pip-version-check grpcio grpcio-tools
  fi
  local models=${MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/trivium/models}
  "$tools/grpc/bin/python" "../bench/$script" --trivium "$trivium" --models "$models" "$@"
}

case ${1:-} in
  # Renders every overlay, validates it, and tests that mistakes are found.
  manifests)
    python_packages
    needs_kubectl
    "$python" manifests.py
    "$python" -m unittest -q test_manifests
    ;;
  # Rules, their tests, and whether every query of rules, dashboards and runbooks names what services emit.
  alerts)
    python_packages
    promtool check rules ../prometheus/rules/*.yml
    promtool test rules ../prometheus/tests/*.yml
    promtool check config ../compose/prometheus.yml
    "$python" queries.py
    "$python" -m unittest -q test_queries
    ;;
  # The image and what is started beside it.
  images)
    python_packages
    "$(dirname "$python")/hadolint" ../../Dockerfile
    "$python" -m unittest -q test_images
    ;;
  # Licences, sources and bans of all dependencies, by deny.toml. It needs no network once cargo-deny is built, which takes minutes.
  audit)
    deny=$(command -v cargo-deny || echo "$tools/cargo/bin/cargo-deny")
    if [ ! -x "$deny" ]; then
      cargo install --quiet --locked --version 0.20.2 --root "$tools/cargo" cargo-deny
    fi
    cd ../..
    "$deny" --offline --locked check bans licenses sources
    ;;
  # Replaces every replica of three services, two each, while clients ask. The binary is the second argument.
  rolling)
    bench rolling_restart.py "${2:?names the binary}" "${@:3}"
    ;;
  # Replaces all certificates and the authority behind them, again and again, while clients ask.
  rotation)
    bench rotation.py "${2:?names the binary}" "${@:3}"
    ;;
  # Measures what tracing, certificates and keys cost a query.
  overhead)
    bench overhead.py "${2:?names the binary}" "${@:3}"
    ;;
  # Writes anew what is made of other files.
  write)
    python_packages
    "$python" ../grafana/dashboards.py
    "$python" ../prometheus/rule_object.py
    ;;
  *)
    fail "name a check: manifests, alerts, images, audit, rolling, rotation, overhead or write"
    ;;
esac
