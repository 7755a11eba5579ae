# Sourced by the scripts: loadrun_setup [EXTRA] makes $root/.venv ready, where $root is the checkout.
#
# The first time it installs what Debian lacks (python3-venv and numactl; root only), makes the
# virtual environment and installs the package with its dependencies. A stamp then says that this is
# done for this setup.cfg, so that later calls cost a few milliseconds. A lock keeps two from
# working at once. Whatever fails ends with the last lines of the log and exit code 4.
# shellcheck shell=bash

loadrun_setup() {
    local extra=${1:-} wanted
    wanted="$root $(sha256sum <"$root/setup.cfg")"
    loadrun_is_ready && return
    exec 9<"$root"
    flock 9
    if ! loadrun_is_ready; then
        loadrun_install || exit 4
    fi
    exec 9<&-
}

# The stamp of an extra serves for the package alone too.
loadrun_is_ready() {
    local stamp
    for stamp in "$root/.venv/ready${extra:+-$extra}" "$root/.venv/ready-test"; do
        [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
    done
    return 1
}

loadrun_install() {
    local venv=$root/.venv log=$root/.venv/setup.log moved=
    mkdir -p "$venv" || return
    echo "setting up $venv (once; log: $log)" >&2
    loadrun_system_packages
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "loadrun: error: Python's venv is missing; cure: apt-get install python3-venv" >&2
        return 1
    fi
    # A virtual environment that was copied or moved points elsewhere: make it anew.
    [[ -f $venv/root && $(<"$venv/root") == "$root" ]] || moved=--clear
    loadrun_step "making the environment" python3 -m venv $moved "$venv" || return
    echo "$root" >"$venv/root"
    loadrun_step "installing packages" \
        "$venv/bin/python" -m pip install --no-input -e "$root${extra:+[$extra]}" || return
    echo "$wanted" >"$venv/ready${extra:+-$extra}"
    echo "set up in ${SECONDS} s" >&2
}

loadrun_system_packages() {
    local missing=()
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v numactl >/dev/null || missing+=(numactl)
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "not installed: ${missing[*]} (needs root: apt-get install ${missing[*]})" >&2
        return 0
    fi
    export DEBIAN_FRONTEND=noninteractive
    # Without numactl a run pins by sched_setaffinity and says so: no reason to end here.
    loadrun_step "apt-get install ${missing[*]}" loadrun_apt "${missing[@]}" ||
        echo "going on without: ${missing[*]}" >&2
}

loadrun_apt() {
    apt-get -qq install -y --no-install-recommends "$@" ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"; }
}

# loadrun_step TEXT COMMAND...: runs it with its output in a log and one line of progress.
loadrun_step() {
    local text=$1 status=0 output pid last started=$SECONDS
    shift
    output=$(mktemp)
    "$@" >"$output" 2>&1 </dev/null 9<&- &
    pid=$!
    # A shell's background jobs ignore an interrupt: end it ourselves.
    trap 'kill $pid 2>/dev/null; rm -f "$output"; exit 130' INT TERM HUP
    if [[ -t 2 ]]; then
        while kill -0 $pid 2>/dev/null; do
            last=$(grep -oE '^ *(Collecting|Downloading|Using cached|Installing|Setting up) [^ ]+' \
                "$output" | tail -n 1) || true
            printf '\r\033[K  %s: %d s %.60s' "$text" $((SECONDS - started)) "$last" >&2
            sleep 0.3
        done
        printf '\r\033[K' >&2
    fi
    wait $pid || status=$?
    trap - INT TERM HUP
    echo "  $text: $((SECONDS - started)) s" >&2
    if ((status)); then
        echo "loadrun: error: $text failed; its last lines:" >&2
        tail -n 15 "$output" >&2
    fi
    [[ -d $root/.venv ]] && cat "$output" >>"$root/.venv/setup.log"
    rm -f "$output"
    return $status
}
