# Sourced by the scripts: loadrun_setup [EXTRA] makes $root/.venv ready, where $root is the checkout.
#
# The first time it installs what Debian lacks (python3-venv and numactl; root only), makes the
# virtual environment and installs the package with its dependencies. A stamp then says that this is
# done for this setup.cfg, so that later calls cost a few milliseconds. A lock keeps two from
# working at once. Whatever fails ends with the last lines of the log and exit code 4.
# shellcheck shell=bash

loadrun_setup() {
    local extra=${1:-} wanted
    loadrun_surroundings
    wanted="$root $(sha256sum <"$root/setup.cfg")"
    loadrun_is_ready && return
    exec 9<"$root"
    # Where the file system has no locks, nobody else sets up the same checkout, as a rule.
    flock 9 2>/dev/null || echo "note: $root: no locks here; do not set up twice at once" >&2
    if ! loadrun_is_ready; then
        loadrun_install || exit 4
    fi
    exec 9<&-
}

# What a user's environment may hold that would lead an interpreter or pip elsewhere.
loadrun_surroundings() {
    unset PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS
    if [[ -n ${TMPDIR:-} && ! (-d $TMPDIR && -w $TMPDIR && -x $TMPDIR) ]]; then
        echo "note: TMPDIR $TMPDIR is no directory to write to: going on without it" >&2
        unset TMPDIR
    fi
}

# The stamp of an extra serves for the package alone too. An interpreter that was removed or
# upgraded leaves an environment that cannot start.
loadrun_is_ready() {
    local stamp
    for stamp in "$root/.venv/ready${extra:+-$extra}" "$root/.venv/ready-test"; do
        [[ -f $stamp && $(<"$stamp") == "$wanted" ]] || continue
        [[ -x $root/.venv/bin/loadrun ]] && loadrun_imports loadrun_start && return
    done
    return 1
}

loadrun_imports() { # MODULE: whether the environment's interpreter starts and finds it
    "$root/.venv/bin/python" -Ic "import $1" >/dev/null 2>&1 </dev/null
}

loadrun_install() {
    local venv=$root/.venv log=$root/.venv/setup.log clear='' python='' old='' index=()
    if ! mkdir -p "$venv" 2>/dev/null; then
        echo "loadrun: error: $venv: cannot be made (cure: a checkout that you may write to," \
            "and no file or broken link of that name)" >&2
        return 1
    fi
    echo "setting up $venv (once; log: $log)" >&2
    loadrun_find_python
    loadrun_system_packages
    [[ -n $python ]] && loadrun_has_venv "$python" || loadrun_find_python
    if [[ -z $python ]]; then
        echo "loadrun: error: loadrun needs Python 3.11 or newer; found: ${old:-none}; cure:" \
            "install it (apt-get install python3.11 python3.11-venv), or put it on the PATH" >&2
        return 1
    fi
    if ! loadrun_has_venv "$python"; then
        echo "loadrun: error: $python: Python's venv is missing; cure:" \
            "apt-get install $(loadrun_venv_package)" >&2
        return 1
    fi
    # A virtual environment that was copied or moved points elsewhere, and one whose interpreter is
    # gone or another points nowhere: make it anew.
    if ! [[ -f $venv/root && $(<"$venv/root") == "$root" ]] || ! loadrun_imports pip; then
        clear=--clear
    fi
    loadrun_step "making the environment" "$python" -I -m venv $clear "$venv" || return
    echo "$root" >"$venv/root"
    loadrun_find_index
    loadrun_step "installing packages" "$venv/bin/python" -I -m pip install --no-user --no-input \
        --no-compile "${index[@]}" -e "$root${extra:+[$extra]}" || return
    loadrun_step "compiling them" loadrun_compile || return
    echo "$wanted" >"$venv/ready${extra:+-$extra}"
    echo "set up in ${SECONDS} s" >&2
}

# On all processors, where pip has one. Some packages hold files that are meant for other versions.
loadrun_compile() {
    "$venv/bin/python" -I -m compileall -qq -j 0 "$venv/lib" || true
}

# Sets python to the first interpreter that is new enough, those with venv first, and old to what
# else there is: nothing is downloaded for one that is too old.
loadrun_find_python() {
    local name path version
    python='' old=''
    for name in python3 python3.{11..19} python; do
        path=$(command -v "$name") || continue
        version=$("$path" -Ic 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
            continue
        if [[ $version == 3.* ]] && ((${version#3.} >= 11)); then
            [[ -n $python ]] || python=$path
            if loadrun_has_venv "$path"; then
                python=$path
                return
            fi
        else
            old+="${old:+, }$path $version"
        fi
    done
}

loadrun_has_venv() { # PYTHON
    "$1" -Ic 'import ensurepip, venv' 2>/dev/null
}

# Debian's package with venv for the interpreter that was found.
loadrun_venv_package() {
    local name=${python##*/}
    echo "${name:-python3}-venv"
}

# Sets index to pip's words for PyTorch's wheels without CUDA, which are a tenth as large, where the
# user has not set where packages come from and that index answers.
loadrun_find_index() {
    local url=https://download.pytorch.org/whl/cpu config
    index=()
    config=$("$venv/bin/python" -I -m pip config list 2>/dev/null) || return 0
    [[ $config =~ \.(index-url|extra-index-url|no-index)= ]] && return 0
    loadrun_answers "$url/torch/" && index=(--extra-index-url "$url")
    return 0
}

loadrun_answers() { # URL
    timeout 3 "$venv/bin/python" -I -c \
        'import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method="HEAD"), timeout=3)' \
        "$1" >/dev/null 2>&1 </dev/null
}

loadrun_system_packages() {
    local missing=()
    if [[ -z $python$old ]]; then
        missing+=(python3 python3-venv)
    elif [[ -n $python ]] && ! loadrun_has_venv "$python"; then
        missing+=("$(loadrun_venv_package)")
    fi
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
    output=$(mktemp 2>/dev/null || mktemp -p "$root") || return
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
