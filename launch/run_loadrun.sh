#!/usr/bin/env bash
# One LoadGen test with N pinned instances: a thin front of `loadrun run`.
# Started by another shell (sh, zsh): bash goes on.
if [ -z "${BASH_VERSION:-}" ]; then
    command -v bash >/dev/null || { echo "loadrun: error: needs bash" >&2; exit 2; }
    exec bash "$0" "$@"
fi
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: run_loadrun.sh BATCH SCENARIO INSTANCES MODEL CORES MODE [AUDIT] [options]

  BATCH      samples of a batch at most, or auto
  SCENARIO   offline, server, multistream or singlestream
  INSTANCES  worker processes, or auto
  MODEL      the network: see loadrun run --help
  CORES      processors of all instances together, or auto
  MODE       PerformanceOnly, AccuracyOnly, SubmissionRun or FindPeakPerformance
  AUDIT      a compliance test, TEST01 or TEST04: run and judged (loadrun audit)
  options    any of `loadrun run`, e.g. --fast, --weights FILE, --images DIR

  auto leaves the choice to `loadrun tune`'s result, else to the default. --tuned takes that result
  in place of all three numbers.

example: run_loadrun.sh 11 offline 14 resnet50 56 PerformanceOnly --fast
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
if ((positional < 6 || positional > 7)); then
    echo "loadrun: error: run_loadrun.sh needs 6 or 7 arguments before options, got $positional" >&2
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

tuned=0
for word in "${@:positional + 1}"; do
    [[ $word == --tuned ]] && tuned=1
done
command=run
arguments=()
number() { # OPTION VALUE
    [[ $2 == auto ]] || ((tuned)) || arguments+=("$1=$2")
}
number --batch-size "$1"
arguments+=("--scenario=$2")
number --instances "$3"
arguments+=("$4")
number --cores "$5"
if ((positional == 6)); then
    arguments+=("--mode=$6")
elif [[ ${6,,} == performanceonly ]]; then
    command=audit
    arguments+=("--tests=$7")
else
    echo "loadrun: error: run_loadrun.sh: $7 is a test of PerformanceOnly, not $6" >&2
    exit 2
fi
shift "$positional"
exec "$loadrun" "$command" "${arguments[@]}" "$@"
