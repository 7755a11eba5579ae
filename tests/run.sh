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
# for the others, and no runs, which would remove what tests leave in /dev/shm. Both find the synthetic
# models that the first one builds.
computing=(
    tests/models
    tests/netrun/test_netrun_[!w]*.py # all but the worker, which waits
    tests/fuzz
    tests/bench/test_bench_{queueing,tuning}.py
    tests/base
    tests/launch/test_launch_{benchmarks,charts,cli,coming_from,completion,fetch,limits}.py
    tests/launch/test_launch_{options,plan,record,record_form,roofline,sizes,timekeeping}.py
    tests/launch/test_launch_{topology,track}.py
    tests/integration/test_integration_{calibrate,security}.py
)
scratch=$(mktemp -d)
beside=
end() {
    [[ -z $beside ]] || kill "$beside" 2>/dev/null || true
    rm -rf -- "$scratch"
}
trap end EXIT
# Hundreds of processes start, and each would compile our modules anew.
unset PYTHONDONTWRITEBYTECODE
export LOADRUN_TEST_CACHE=$scratch/cache
mkdir -- "$LOADRUN_TEST_CACHE"
colour=()
[[ ! -t 1 ]] || colour=(--color=yes)
OMP_NUM_THREADS=1 nice -n 19 pytest "${colour[@]}" -p no:cacheprovider "${computing[@]}" \
    >"$scratch/computing" 2>&1 &
beside=$!
failed=0
pytest "${colour[@]}" "${computing[@]/#/--ignore=}" 2>&1 | tee -- "$scratch/waiting" || failed=$?
wait "$beside" || failed=$?
beside=
cat -- "$scratch/computing"
printf '\nThose that wait, and those that compute:\n'
tail -qn 1 -- "$scratch/waiting" "$scratch/computing"
exit "$failed"
