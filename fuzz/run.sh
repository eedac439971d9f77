#!/usr/bin/env bash
# Runs fuzz targets one after the other: run.sh SECONDS [TARGET ...], all of them unless some are named.
#
# Installs cargo-fuzz where it is missing. Builds and inputs that were found are kept under the user's cache folder, so
# that the next run goes on where this one ends. Ends with 1 where a target crashed, and says how to run its input again.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?how many seconds each target runs}
shift
cache="${XDG_CACHE_HOME:-$HOME/.cache}/trivium"
tools="$cache/checks/cargo"
built="$cache/fuzz/target"

[ $# -gt 0 ] || set -- $(cd fuzz_targets && printf '%s ' *.rs | sed 's/\.rs//g')

if ! command -v cargo-fuzz > /dev/null && [ ! -x "$tools/bin/cargo-fuzz" ]; then
  echo "fuzz: building cargo-fuzz, once"
  cargo install --quiet --locked --version 0.13.1 --root "$tools" cargo-fuzz
fi

# Our crates have no unsafe code, so the sanitizers, which cost half of the speed and a nightly compiler, would look at
# little. Checks for overflow and failed assertions are on.
PATH="$PATH:$tools/bin" cargo fuzz build --fuzz-dir . --sanitizer none --target-dir "$built"

crashed=()
for target in "$@"; do
  corpus="$cache/fuzz/corpus/$target"
  crashes="$cache/fuzz/crashes/$target/"
  mkdir -p "$corpus" "$crashes"
  binary=$(find "$built" -path "*/release/$target" -type f -perm -u+x | head -n 1)
  # Inputs may grow sooner than by default: most of what can be said to these parsers is longer than a line.
  arguments=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -len_control=10 -print_final_stats=1)
  [ ! -f "dictionaries/$target" ] || arguments+=(-dict="dictionaries/$target")
  echo "fuzz: $target for $seconds s"
  if ! "$binary" "${arguments[@]}" -artifact_prefix="$crashes" "$corpus" "seeds/$target"; then
    crashed+=("$target")
    echo "fuzz: $target crashed; run it again with: $binary ${crashes}INPUT" >&2
  fi
done
[ "${#crashed[@]}" -eq 0 ] || { echo "fuzz: crashes in: ${crashed[*]}" >&2; exit 1; }
