"""run_loadrun.sh, single_stream.sh and the set-up they share, with a recording python3."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from launch.supervise.environment import PACKAGE_ROOT

SCRIPTS = ("run_loadrun.sh", "single_stream.sh", "run_local.sh", "setup.sh")
# Makes an environment whose pip and loadrun only note how they were called.
PYTHON3 = """#!/bin/bash
case $2 in
*version_info*) echo "${VERSION:-3.11}"; exit 0 ;;
*ensurepip*) exit "${VENV_STATUS:-0}" ;;
esac
echo "python3 $*" >>"$CALLS"
directory=${!#}
mkdir -p "$directory/bin"
rm -f "$directory/bin/python"
cat >"$directory/bin/python" <<'PYTHON'
#!/bin/bash
[[ $1 == -Ic ]] && exit
[[ $* == *urlopen* ]] && exit "${ANSWERS:-1}"
[[ $* == *compileall* ]] && exit
[[ $* == *"pip config list"* ]] && exec cat "${PIP_SAYS:-/dev/null}"
echo "pip $*" >>"$CALLS"
env | grep -E "^(PIP_|TMPDIR)" >>"$CALLS"
echo "Collecting something"
[[ -z ${PIP_STATUS:-} ]] || echo "no such package: something" >&2
sleep "${PIP_SLEEP:-0}"
exit "${PIP_STATUS:-0}"
PYTHON
cat >"$directory/bin/loadrun" <<'LOADRUN'
#!/bin/bash
printf '[%s]\\n' "$@"
exit 3
LOADRUN
chmod +x "$directory"/bin/*
"""


class Checkout:
    """A checkout with the scripts alone; its path has a space and a quote in it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "it's a checkout"
        (self.root / "launch").mkdir(parents=True)
        for name in SCRIPTS:
            shutil.copy(PACKAGE_ROOT / "launch" / name, self.root / "launch")
        (self.root / "setup.cfg").write_text("[metadata]\n")
        self.calls = directory / "calls"
        self.calls.touch()
        tools = directory / "tools"
        tools.mkdir()
        for name, text in (("python3", PYTHON3), ("numactl", "#!/bin/sh\n")):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "HOME": str(directory),
        }

    def start(self, script: str, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "launch" / script), *words],
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *words: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(script, *words, **variables)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def installs(self) -> int:
        return sum(line.startswith("pip ") for line in self.calls.read_text().splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


RUN = ("11", "offline", "14", "resnet50", "56", "PerformanceOnly")
PASSED = (
    "run",
    "--batch-size=11",
    "--scenario=offline",
    "--instances=14",
    "resnet50",
    "--cores=56",
    "--mode=PerformanceOnly",
)


@pytest.mark.parametrize(
    ("script", "words", "passed"),
    [
        (
            "run_loadrun.sh",
            [*RUN, "--fast", "--weights", "a b$(touch x).pth"],
            [*PASSED, "--fast", "--weights", "a b$(touch x).pth"],
        ),
        (
            "run_loadrun.sh",
            [*RUN, "TEST01"],
            ["audit", *PASSED[1:-1], "--tests=TEST01"],
        ),
        (
            "single_stream.sh",
            ["resnet50", "AccuracyOnly", "--cores", "4"],
            ["single-stream", "resnet50", "--mode=AccuracyOnly", "--cores", "4"],
        ),
        (
            "single_stream.sh",
            ["mobilenet", "PerformanceOnly", "TEST04"],
            ["audit", "mobilenet", "--scenario=SingleStream", "--tests=TEST04"],
        ),
        (
            "run_local.sh",
            ["pytorch", "dlrm", "terabyte", "cpu", "--accuracy", "--count=5"],
            ["run-local", "pytorch", "dlrm", "terabyte", "cpu", "--accuracy", "--count=5"],
        ),
    ],
)
def test_arguments_and_exit_code_pass_through(
    checkout: Checkout, script: str, words: list[str], passed: list[str]
) -> None:
    code, output, _ = checkout.run(script, *words)
    assert code == 3
    assert output.splitlines() == [f"[{word}]" for word in passed]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("run_loadrun.sh", []),
        ("run_loadrun.sh", [*RUN[:5], "--fast"]),
        ("run_loadrun.sh", [*RUN, "TEST01", "more"]),
        ("single_stream.sh", ["resnet50"]),
        ("single_stream.sh", ["resnet50", "PerformanceOnly", "TEST01", "more"]),
        ("run_local.sh", ["pytorch", "cpu", "--accuracy"]),
    ],
)
def test_wrong_numbers_of_arguments_show_the_usage(
    checkout: Checkout, script: str, words: list[str]
) -> None:
    code, output, errors = checkout.run(script, *words)
    assert (code, output) == (2, "")
    assert errors.startswith("loadrun: error: ")
    assert f"usage: {script}" in errors
    assert not checkout.calls.read_text()


@pytest.mark.parametrize("script", ["run_loadrun.sh", "single_stream.sh", "run_local.sh"])
def test_help_sets_nothing_up(checkout: Checkout, script: str) -> None:
    code, output, _ = checkout.run(script, "--help")
    assert code == 0
    assert output.startswith(f"usage: {script}")
    assert not checkout.calls.read_text()


def test_set_up_once_and_again_when_setup_cfg_changes(checkout: Checkout) -> None:
    checkout.run("run_loadrun.sh", *RUN)
    assert checkout.installs() == 1
    calls = checkout.calls.read_text()
    code, _, errors = checkout.run("single_stream.sh", "resnet50", "PerformanceOnly")
    assert (code, errors) == (3, "")
    assert checkout.calls.read_text() == calls, "no python3 is started when all is there"
    (checkout.root / "setup.cfg").write_text("[metadata]\nname = loadrun\n")
    checkout.run("run_loadrun.sh", *RUN)
    assert checkout.installs() == 2
    assert "--clear" not in checkout.calls.read_text().splitlines()[-2]


def test_a_moved_checkout_is_set_up_anew(checkout: Checkout) -> None:
    checkout.run("run_loadrun.sh", *RUN)
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    code, _, _ = checkout.run("run_loadrun.sh", *RUN)
    assert code == 3
    assert checkout.installs() == 2


def test_two_at_once_install_once(checkout: Checkout) -> None:
    both = [checkout.start("run_loadrun.sh", *RUN, PIP_SLEEP="0.5") for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 3
    assert checkout.installs() == 1


def test_a_failed_set_up_shows_why_and_is_tried_again(checkout: Checkout) -> None:
    code, output, errors = checkout.run("run_loadrun.sh", *RUN, PIP_STATUS="1")
    assert (code, output) == (4, "")
    assert "loadrun: error: installing packages failed" in errors
    assert "no such package: something" in errors
    assert "no such package" in (checkout.root / ".venv/setup.log").read_text()
    code, _, _ = checkout.run("run_loadrun.sh", *RUN)
    assert code == 3


def test_installed_scripts_use_the_loadrun_beside_them(checkout: Checkout) -> None:
    checkout.run("run_loadrun.sh", *RUN)
    calls = checkout.calls.read_text()
    binaries = checkout.root / ".venv/bin"
    script = shutil.copy(checkout.root / "launch/single_stream.sh", binaries)
    done = subprocess.run(
        [script, "resnet50", "PerformanceOnly"],
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout.startswith("[single-stream]")
    assert checkout.calls.read_text() == calls


@pytest.mark.parametrize(
    ("numbers", "options", "passed"),
    [
        (("auto", "auto", "auto"), (), []),
        (("4", "auto", "2"), (), ["--batch-size=4", "--cores=2"]),
        (("4", "2", "2"), ("--fast", "--tuned"), ["--fast", "--tuned"]),
    ],
)
def test_numbers_can_be_left_to_what_was_tuned(
    checkout: Checkout, numbers: tuple[str, str, str], options: tuple[str, ...], passed: list[str]
) -> None:
    batch, instances, cores = numbers
    words = [batch, "offline", instances, "resnet50", cores, "PerformanceOnly", *options]
    code, output, _ = checkout.run("run_loadrun.sh", *words)
    assert code == 3
    given = [line.strip("[]") for line in output.splitlines()]
    assert given[0] == "run"
    rest = [w for w in given[1:] if w not in ("resnet50", "--scenario=offline")]
    assert [w for w in rest if w != "--mode=PerformanceOnly"] == passed


def pip_call(checkout: Checkout) -> str:
    (line,) = (x for x in checkout.calls.read_text().splitlines() if x.startswith("pip "))
    return line


@pytest.mark.parametrize("gone", ["dangling", "broken", "no loadrun"])
def test_an_environment_that_cannot_start_is_rebuilt(checkout: Checkout, gone: str) -> None:
    checkout.run("run_loadrun.sh", *RUN)
    python = checkout.root / ".venv/bin/python"
    if gone == "no loadrun":
        (checkout.root / ".venv/bin/loadrun").unlink()
    else:
        python.unlink()
        if gone == "dangling":
            python.symlink_to(checkout.root / "python3.10-that-was-removed")
        else:
            python.write_text("#!/no/such/interpreter\n")
            python.chmod(0o755)
    code, _, _ = checkout.run("run_loadrun.sh", *RUN)
    assert code == 3
    assert checkout.installs() == 2
    anew = [x for x in checkout.calls.read_text().splitlines() if x.startswith("python3 ")][-1]
    assert ("--clear" in anew) is (gone != "no loadrun")


def test_an_old_python_is_named_before_anything_is_downloaded(checkout: Checkout) -> None:
    """And the newer one beside it is found."""
    tools = checkout.calls.parent / "tools"
    for name in ("bash", "dirname", "readlink", "sha256sum", "flock", "mkdir", "cat", "id", "env"):
        path = shutil.which(name)
        assert path is not None
        (tools / name).symlink_to(path)
    checkout.environment["PATH"] = str(tools)
    code, _, errors = checkout.run("run_loadrun.sh", *RUN, VERSION="3.10")
    assert code == 4
    assert f"needs Python 3.11 or newer; found: {tools}/python3 3.10" in errors
    assert not checkout.calls.read_text()
    for name in ("rm", "tail", "grep", "mktemp", "chmod", "sleep", "timeout"):
        path = shutil.which(name)
        assert path is not None
        (tools / name).symlink_to(path)
    newer = (tools / "python3").read_text().replace("${VERSION:-3.11}", "3.12")
    (tools / "python3.12").write_text(newer)
    (tools / "python3.12").chmod(0o755)
    code, _, errors = checkout.run("run_loadrun.sh", *RUN, VERSION="3.10")
    assert code == 3, errors


def test_what_leads_pip_elsewhere_is_left_out(checkout: Checkout) -> None:
    code, _, errors = checkout.run(
        "run_loadrun.sh",
        *RUN,
        PIP_USER="1",
        PIP_TARGET="/elsewhere",
        PIP_PROXY="http://proxy",
        PYTHONHOME="/elsewhere",
        TMPDIR="/no/such/directory",
    )
    assert code == 3
    assert "TMPDIR /no/such/directory" in errors
    calls = checkout.calls.read_text()
    assert "PIP_PROXY=http://proxy" in calls
    assert "PIP_USER" not in calls
    assert "/elsewhere" not in calls
    assert "TMPDIR" not in calls
    assert " --no-user " in pip_call(checkout)


@pytest.mark.parametrize(
    ("configured", "answers", "used"),
    [
        ("", "0", True),
        ("global.timeout='60'\n", "0", True),
        ("", "1", False),
        ("global.index-url='https://mirror/simple'\n", "0", False),
        (":env:.extra-index-url='https://mirror/simple'\n", "0", False),
        ("install.no-index='true'\n", "0", False),
    ],
)
def test_wheels_without_cuda_unless_the_user_set_an_index(
    checkout: Checkout, configured: str, answers: str, used: bool
) -> None:
    config = checkout.calls.with_name("config")
    config.write_text(configured)
    code, _, _ = checkout.run("run_loadrun.sh", *RUN, PIP_SAYS=str(config), ANSWERS=answers)
    assert code == 3
    index = "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert (index in pip_call(checkout)) is used


@pytest.mark.parametrize("shell", ["sh", "dash"])
def test_another_shell_hands_over_to_bash(checkout: Checkout, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "run_loadrun.sh", *RUN, "--fast"],
        cwd=checkout.root / "launch",
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [f"[{word}]" for word in (*PASSED, "--fast")]


MYPY = """#!/bin/sh
echo "what TYPES said"
exit "$TYPES"
"""
PYTEST = """#!/bin/bash
[[ $* == *"not alone"* ]] && part=OTHERS || part=ALONE
echo "what $part said"
exit "${!part}"
"""


@pytest.mark.parametrize("fails", [None, "TYPES", "ALONE", "OTHERS"])
def test_the_suite_does_all_its_parts_and_fails_with_any(
    checkout: Checkout, fails: str | None
) -> None:
    (checkout.root / "tests").mkdir()
    shutil.copy(PACKAGE_ROOT / "tests/run.sh", checkout.root / "tests")
    tools = checkout.calls.parent / "tools"
    for name, text in (("ruff", "#!/bin/sh\n"), ("mypy", MYPY), ("pytest", PYTEST)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    codes = {part: str(int(part == fails)) for part in ("TYPES", "ALONE", "OTHERS")}
    code, output, errors = checkout.run("../tests/run.sh", **codes)
    assert code == int(fails is not None), errors
    *both, last = output.splitlines()
    assert {*both} == {"what TYPES said", "what ALONE said"}
    assert last == "what OTHERS said"
