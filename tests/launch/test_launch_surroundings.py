"""What surrounds a run: locales, names that are no text, streams, limits, paths of modules."""

from __future__ import annotations

import errno
import io
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import refused_call
from cli_process import Cli
from private_shm import in_private_shm

import models
from base.errors import InputError
from base.text import printable, read_given
from launch.build.cache import cache_directory, expanded
from launch.charts.markup import address
from launch.options import find_sources
from launch.screen.streams import HANDLER, never_fail_on_a_name, shows_utf8
from launch.supervise.environment import PACKAGE_ROOT, base_environment
from loadrun.user_conf import parse_user_conf
from models.imagenet.dataset import image_folder, listed_images
from models.imagenet.labels import read_labels

LOCALES = {
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "stream": {"PYTHONIOENCODING": "ascii:strict"},
    "utf-8": {"LC_ALL": "C.UTF-8"},
}
FOREIGN = os.fsdecode(b"caf\xe9 \xc3\xa9")
RUN = ("run", "mobilenet", "--fast", "--time", "0.3", "--engine", "sim")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def loadrun(
    cli: Cli,
    *words: str,
    before: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as it is installed: by its own first module."""
    code = "import sys; from loadrun_start import main; sys.exit(main())"
    environment = {**cli.environment, **(variables or {})}
    start = ["-c", f"import sys; sys.path.append({str(PACKAGE_ROOT)!r}); {code}"]
    return subprocess.run(
        [*before, sys.executable, *start, *words],
        cwd=cli.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    error = done.stderr.decode(errors="surrogateescape")
    assert done.returncode == 2, error
    assert error.startswith("loadrun: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("name", LOCALES)
def test_names_are_bytes_in_every_locale(cli: Cli, name: str) -> None:
    """Results, images and labels whose names are no text, and a user.conf with a mark."""
    images = cli.directory / f"images {FOREIGN}"
    images.mkdir()
    lines = []
    for number, image in enumerate(sorted(cli.images.glob("*.png"))):
        file = os.fsencode(f"{FOREIGN}{image.name}").replace(b" ", b"_")
        shutil.copy(image, images / os.fsdecode(file))
        lines.append(file + b" %d\n" % number)
    (images / "val_map.txt").write_bytes(b"\xef\xbb\xbf" + b"".join(lines))
    conf = "# für é\n*.Offline.target_qps = 700\n".encode("utf-8-sig")
    (cli.directory / "user.conf").write_bytes(conf + b"# \xe9\n")
    results = cli.directory / FOREIGN
    done = loadrun(
        cli, *RUN, "--images", str(images), "--results", str(results), variables=LOCALES[name]
    )
    assert done.returncode in (0, 3), done.stderr
    assert b"Traceback" not in done.stdout + done.stderr
    shown = os.fsencode(results)
    if name == "stream":
        shown = shown.replace(b"\xc3\xa9", b"\\xe9")
    assert b"results: " + shown in done.stdout
    home = results / "offline/mobilenet"
    record = (home / "run.json").read_text("utf-8")
    assert '"offline_expected_qps": 700' in record
    assert "performance/run_1" in str(next(home.rglob("run_1/report.html")))
    done = loadrun(cli, "report", "--results", str(results), variables=LOCALES[name])
    assert done.returncode == 0, done.stderr
    (results / "index.html").read_text("utf-8")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_ends_nothing(cli: Cli, closed: int) -> None:
    before = ("sh", "-c", f'exec {closed}>&-; exec "$0" "$@"')
    done = loadrun(cli, *RUN, "--images", str(cli.images), before=before)
    assert done.returncode in (0, 3), done.stderr
    assert b"Traceback" not in done.stderr
    assert (cli.directory / "results/offline/mobilenet/run.json").exists()


@pytest.mark.parametrize("name", ["models", "launch", "loadrun", "shm", "netrun"])
def test_our_packages_come_first_for_us_alone(cli: Cli, name: str) -> None:
    strange = cli.directory / "strange"
    (strange / name).mkdir(parents=True)
    (strange / name / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    path = os.pathsep.join((str(strange), str(PACKAGE_ROOT)))
    done = loadrun(cli, "topology", variables={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    inherited = base_environment({"PYTHONPATH": path})["PYTHONPATH"].split(os.pathsep)
    assert inherited[:2] == [str(PACKAGE_ROOT), str(strange)]
    other = subprocess.run(
        [sys.executable, "-Pc", f"import {name}"],
        env={**cli.environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a stranger" in other.stderr


def limited(limit: str) -> tuple[str, ...]:
    return ("bash", "-c", f'ulimit {limit}; exec "$0" "$@"')


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("-n 20", ["24 open files", "ulimit -n"]),
        ("-v 400000", ["address space", "ulimit -v unlimited"]),
        ("-f 2000", ["in one file", "ulimit -f unlimited"]),
    ],
)
def test_limits_of_the_process_are_named_before_the_start(
    cli: Cli, limit: str, expected: list[str]
) -> None:
    done = loadrun(cli, *RUN, "--images", str(cli.images), before=limited(limit))
    line = one_line(done)
    for words in expected:
        assert words in line


def test_a_shared_memory_directory_that_is_not_there(cli: Cli) -> None:
    before = in_private_shm("size=1m", "/dev")
    nodes = "mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9"
    script = f'{nodes} && exec "$@"'
    words = (*before, "sh", "-c", script, "sh")
    line = one_line(loadrun(cli, *RUN, "--images", str(cli.images), before=words))
    assert "/dev/shm is not there" in line or "worker processes" in line
    done = loadrun(cli, "doctor", before=words)
    assert done.returncode == 3, done.stderr
    assert b"/dev/shm is not there" in done.stdout


@pytest.mark.skipif(platform.machine() not in refused_call.NUMBERS, reason="another architecture")
def test_a_system_that_lets_nobody_choose_processors(cli: Cli) -> None:
    before = (sys.executable, refused_call.__file__)
    done = loadrun(cli, *RUN, "--images", str(cli.images), before=before)
    if b"no filters of system calls" in done.stderr:
        pytest.skip("this system has no filters of system calls")
    assert done.returncode in (0, 3), done.stderr
    assert b"does not allow to pin processes" in done.stdout
    assert '"method": "none"' in (cli.directory / "results/offline/mobilenet/run.json").read_text()


def test_a_file_system_without_locks(cli: Cli) -> None:
    """What file systems say instead: tests/base/test_base_locks.py."""
    shutil.rmtree(cli.directory / "cache")
    strange = cli.directory / "strange"
    strange.mkdir()
    (strange / "sitecustomize.py").write_text(
        "import fcntl, os\n"
        "def flock(descriptor, operation):\n"
        f"    raise OSError({errno.ENOLCK}, os.strerror({errno.ENOLCK}))\n"
        "fcntl.flock = flock\n"
    )
    path = os.pathsep.join((str(strange), str(PACKAGE_ROOT)))
    done = loadrun(cli, *RUN, "--images", str(cli.images), variables={"PYTHONPATH": path})
    assert done.returncode in (0, 3), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"loadrun: note: " in done.stderr
    assert b"has no locks" in done.stderr
    assert b"has no locks" in done.stdout, "the cache has none either"


def test_a_cache_that_is_read_only_serves(cli: Cli) -> None:
    words = (*RUN, "--images", str(cli.images))
    assert loadrun(cli, *words).returncode in (0, 3)
    cache = cli.directory / "cache"
    in_private_shm("size=1m", str(cache))  # skips where nothing may be mounted
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", mount, str(cache))
    done = loadrun(cli, *words, before=before)
    assert done.returncode in (0, 3), done.stderr
    assert b"preprocessing" not in done.stdout


def test_packages_that_cannot_be_loaded_are_named(cli: Cli) -> None:
    strange = cli.directory / "strange/posix_ipc"
    strange.mkdir(parents=True)
    (strange / "__init__.py").write_text(
        "raise ImportError('libgomp.so.1: cannot open shared object file', name='posix_ipc')\n"
    )
    path = os.pathsep.join((str(strange.parent), str(PACKAGE_ROOT)))
    line = one_line(loadrun(cli, *RUN, "--images", str(cli.images), variables={"PYTHONPATH": path}))
    assert "posix_ipc cannot be loaded: libgomp.so.1" in line
    assert "apt-get install libgomp1" in line


def test_a_directory_that_is_gone_and_one_that_never_was(cli: Cli) -> None:
    gone = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@"')
    assert "current directory" in one_line(loadrun(cli, *RUN, before=gone))
    words = ("preprocess", "mobilenet", "--images", "~nobody-of-that-name/x")
    assert "no such home directory" in one_line(loadrun(cli, *words))


@pytest.mark.parametrize("home", ["", None])
def test_without_a_home_the_cache_has_no_place(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    environment = {} if home is None else {"HOME": home}
    with pytest.raises(InputError, match="LOADRUN_CACHE"):
        cache_directory(environment)
    assert cache_directory({"LOADRUN_CACHE": "/x"}) == Path("/x")
    assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/loadrun")
    with pytest.raises(InputError, match="--weights ~no-such-user-here"):
        find_sources(models.get("resnet50"), {"weights": "~no-such-user-here/w.pth"}, {})
    assert expanded("a", "--x").is_absolute()


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("caf\udce9", "utf-8", b"caf\xe9"),
        ("café", "ascii", b"caf\\xe9"),
        ("café\udce9\ud800", "ascii", b"caf\\xe9\xe9\\ud800"),
        ("━\udcff", "latin-1", b"\\u2501\xff"),
    ],
)
def test_no_name_fails_on_the_way_out(text: str, encoding: str, written: bytes) -> None:
    never_fail_on_a_name()
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=HANDLER)
    stream.write(text)
    stream.flush()
    assert raw.getvalue() == written


def test_glyphs_only_where_the_locale_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "ISO-8859-1")
    assert not shows_utf8("utf-8")
    monkeypatch.setattr("locale.getencoding", lambda: "UTF-8")
    assert shows_utf8("utf-8")
    assert not shows_utf8("latin-1")


MARK = b"\xef\xbb\xbf"


def conf_qps(path: Path) -> object:
    entry = parse_user_conf(path).get("resnet50", "Offline", "target_qps")
    return None if entry is None else entry.value


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (read_labels, b"a.jpg 1\r\n", [("a.jpg", 1)]),
        (read_labels, b"caf\xe9.jpg 1\n", [("caf\udce9.jpg", 1)]),
        (conf_qps, b"*.Offline.target_qps = 5\n", 5.0),
        (conf_qps, b"# f\xfcr\n*.Offline.target_qps = 5\n", 5.0),
        (read_given, "é\n".encode(), "é\n"),
    ],
)
@pytest.mark.parametrize("mark", [b"", MARK])
def test_what_people_give_is_utf8_with_or_without_a_mark(
    tmp_path: Path, read: Callable[[Path], object], text: bytes, found: object, mark: bytes
) -> None:
    file = tmp_path / "given"
    file.write_bytes(mark + text)
    assert read(file) == found


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "val_map.txt"
    file.write_bytes("\ufeffa.jpg 1\n".encode(encoding))
    from base.errors import InputError as ModelInputError

    with pytest.raises(ModelInputError, match="UTF-16"):
        read_labels(file)


def test_pages_are_whole_utf8_and_links_are_addresses(tmp_path: Path) -> None:
    assert printable("caf\udce9 é") == "caf\\xe9 é"
    assert printable("\ud800").isascii()
    link = address(tmp_path / "a#b%c?" / os.fsdecode(b"\xe9") / "report.html", tmp_path)
    assert link == "a%23b%25c%3F/%E9/report.html"


def test_what_lies_among_images_and_is_none(tmp_path: Path) -> None:
    """Hidden files and folders are left out; what cannot be read is named when it is."""
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "._a.png").write_bytes(b"1")
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in image_folder(tmp_path).files] == ["a.png"]
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("nowhere")
    (tmp_path / "d.png").symlink_to("/dev/zero")
    found = image_folder(tmp_path)
    assert [file.name for file in found.files] == ["a.png", "b.png", "c.png", "d.png"]
    (tmp_path / "list").write_bytes(MARK + b"b.png\n")
    from base.errors import InputError as ModelInputError
    from base.unchanged import file_digest
    from models.imagenet.content import UNREADABLE, content_of
    from models.imagenet.preprocess import decode

    for file, expected in zip(found.files[1:], ("FIFO", "leads nowhere", "device"), strict=True):
        with pytest.raises(ModelInputError, match=f"{file.name}: .*{expected}"):
            decode(file)
    for file in found.files[1:]:
        with pytest.raises(OSError, match=r"FIFO|leads nowhere|device"):
            file_digest(file)
    # They are read for nobody, nor waited for.
    (digest,) = content_of(listed_images(tmp_path, tmp_path / "list"), tmp_path).digests
    assert digest == UNREADABLE
    assert content_of(found, tmp_path).digests[1:] == [UNREADABLE] * 3
