#!/usr/bin/env bash
# One LoadGen test in the words of MLPerf's reference: a thin front of `loadrun run-local`.
# Started by another shell (sh, zsh): bash goes on.
if [ -z "${BASH_VERSION:-}" ]; then
    command -v bash >/dev/null || { echo "loadrun: error: needs bash" >&2; exit 2; }
    exec bash "$0" "$@"
fi
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: run_local.sh BACKEND MODEL [DATASET] DEVICE [options]

  BACKEND   pytorch or onnxruntime (fp32, as the reference), onednn or openvino (int8)
  MODEL     resnet50, mobilenet, retinanet, ssd-mobilenet, ssd-resnet34 or dlrm
  DATASET   of dlrm: terabyte, kaggle, multihot-criteo (dlrm-v2) or debug
  DEVICE    cpu
  options   of the reference's main.py, or any of `loadrun run`

  MODEL_DIR and DATA_DIR say where weights and data lie; without them an embedded synthetic model
  is served. Results go to OUTPUT_DIR, else to results. Options in EXTRA_OPS come first. docs/reference.md has all flags.

example: run_local.sh pytorch dlrm terabyte cpu --accuracy
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
if ((positional < 3 || positional > 4)); then
    echo "loadrun: error: run_local.sh needs 3 or 4 arguments before options, got $positional" >&2
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
exec "$loadrun" run-local "$@"
