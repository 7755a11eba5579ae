#!/usr/bin/env bash
# Sets up with the tools for testing, then: ruff, mypy, pytest. Arguments go to pytest.
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
exec pytest "$@"
