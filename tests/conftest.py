"""What several packages' tests share: real data, and synthetic models that take time to build."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from launch.build.assets import ArtifactConfig, Assets, BuildConfig
from launch.build.make import make
from models.imagenet.classifier import classifier, classifiers
from models.synthetic import SyntheticAssets, build

# Started in the background or under nohup, this process ignores them, and so would what it starts.
for _number in (signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SESSION = "LOADRUN_TEST_SESSION"
"""The variable that names a folder which all processes of this session of pytest share."""
FIRST = ("integration", "launch", "netrun", "models")
"""Folders whose files take longest: begun last, one of them would keep all waiting."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "alone: leaves in /dev/shm what any run that begins removes: no other test may run beside",
    )
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="loadrun-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        os.environ[SESSION] = folder.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(FIRST)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LOADRUN_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real weights and images in {folder} (LOADRUN_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def synthetic_cache() -> Path:
    return Path(os.environ[SESSION]) / "cache"


@pytest.fixture(scope="session")
def synthetic(synthetic_cache: Path) -> dict[str, SyntheticAssets]:
    return {name: build(classifier(name), synthetic_cache) for name in classifiers()}


@pytest.fixture(scope="session")
def synthetic_programs(synthetic_cache: Path) -> dict[str, Assets]:
    """Samples and int8 programs of the synthetic models, as runs look for them in that cache."""
    return {
        name: make(
            BuildConfig(
                model=name,
                data=None,
                weights=None,
                calibration=None,
                options={},
                samples=True,
                # pytorch takes the program as it is: nothing is compiled
                artifact=ArtifactConfig("pytorch", "int8", 1, 1, []),
                cache=str(synthetic_cache),
            ),
            lambda stage, done, total: None,
            print,
        )
        for name in classifiers()
    }
