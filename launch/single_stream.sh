#!/usr/bin/env bash
# LoadGen's SingleStream scenario in one process: a thin front of `loadrun single-stream`.
# Started by another shell (sh, zsh): bash goes on.
if [ -z "${BASH_VERSION:-}" ]; then
    command -v bash >/dev/null || { echo "loadrun: error: needs bash" >&2; exit 2; }
    exec bash "$0" "$@"
fi
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: single_stream.sh MODEL MODE [AUDIT] [options]

  MODEL    the network: see loadrun run --help
  MODE     PerformanceOnly, AccuracyOnly or SubmissionRun
  AUDIT    a compliance test, TEST01 or TEST04: run and judged (loadrun audit)
  options  any of `loadrun single-stream`, e.g. --fast, --cores N, --weights FILE

example: single_stream.sh resnet50 PerformanceOnly --fast
TEXT
}

positional=0
for word in "$@"; do
    [[ $word == -* ]] && break
    positional=$((positional + 1))
done
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if ((positional < 2 || positional > 3)); then
    echo "loadrun: error: single_stream.sh needs 2 or 3 arguments before options, got $positional" >&2
    usage >&2
    exit 2
fi

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
if [[ -f $here/loadrun && -x $here/loadrun ]]; then
    loadrun=$here/loadrun
else
    root=$(dirname -- "$here")
    # shellcheck source=launch/setup.sh
    . "$here/setup.sh"
    loadrun_setup
    loadrun=$root/.venv/bin/loadrun
fi

if ((positional == 2)); then
    arguments=(single-stream "$1" "--mode=$2")
elif [[ ${2,,} == performanceonly ]]; then
    arguments=(audit "$1" "--scenario=SingleStream" "--tests=$3")
else
    echo "loadrun: error: single_stream.sh: $3 is a test of PerformanceOnly, not $2" >&2
    exit 2
fi
shift "$positional"
exec "$loadrun" "${arguments[@]}" "$@"
