#!/usr/bin/env bash
# Sets up with the tools for testing, then: ruff, mypy, pytest. Arguments go to pytest.
# Started by another shell (sh, zsh): bash goes on.
if [ -z "${BASH_VERSION:-}" ]; then
    command -v bash >/dev/null || { echo "loadrun: error: needs bash" >&2; exit 2; }
    exec bash "$0" "$@"
fi
set -euo pipefail

root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
# shellcheck source=launch/setup.sh
. "$root/launch/setup.sh"
loadrun_setup test
cd -- "$root"
export PATH=$root/.venv/bin:$PATH
ruff check .
ruff format --check .
mypy
(($#)) && exec pytest "$@"

# Most tests wait for processes; those that only compute use the time, one thread that stands back
# for the others. Both find the synthetic models that the first one builds.
scratch=$(mktemp -d)
trap 'kill "$beside" 2>/dev/null || true; rm -rf -- "$scratch"' EXIT
export LOADRUN_TEST_CACHE=$scratch/cache
mkdir -- "$LOADRUN_TEST_CACHE"
OMP_NUM_THREADS=1 nice -n 19 pytest -p no:cacheprovider tests/models tests/fuzz >"$scratch/log" 2>&1 &
beside=$!
failed=0
pytest --ignore=tests/models --ignore=tests/fuzz || failed=$?
wait "$beside" || failed=$?
cat -- "$scratch/log"
exit "$failed"
