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
if (($#)); then
    mypy
    exec pytest "$@"
fi
# Hundreds of processes start, and each would compile our modules anew.
unset PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS=1
failed=0
mypy &
types=$!
mapfile -t marked < <(grep -rlF mark.alone tests --include='test_*.py')
pytest -q -m alone "${marked[@]}" || failed=$?
wait $types || failed=$?
# Most tests wait for processes, which more than one test for a processor make up for. Files stay
# whole, since their tests share what they built, and begin in tests/conftest.py's order.
pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone" || failed=$?
exit $failed
