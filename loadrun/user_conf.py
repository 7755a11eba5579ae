"""Read and check a user.conf the way LoadGen reads it, and say which line is wrong.

LoadGen's own parser accepts any key, drops what it does not know, truncates `7.5` to `7` where it
wants a whole number and takes a comment behind a value for a second value. Each of these costs a
submitter a run; here each is an error that names file and line.

Grammar (LoadGen, `TestSettings::FromConfig`): `model.scenario.key = value`, spaces around `=`;
a comment is a line whose first word is `#`. `*` stands for every model or scenario.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from base.errors import quoted
from base.text import read_given
from loadrun.scenarios import SCENARIOS, nearest

MODELS = (
    "resnet50", "mobilenet", "ssd-mobilenet", "ssd-resnet34", "retinanet", "gnmt", "ncf", "bert",
    "dlrm", "dlrm-v2", "dlrm-v3", "rnnt", "3d-unet", "gptj", "llama2-70b", "llama2-70b-interactive",
    "llama3_1-405b", "llama3_1-405b-interactive", "llama3_1-8b", "llama3_1-8b-edge",
    "llama3_1-8b-interactive", "mixtral-8x7b", "stable-diffusion-xl", "wan-2.2-t2v-a14b", "rgat",
    "pointpainting", "deepseek-r1", "deepseek-r1-interactive", "whisper", "qwen3-vl-235b-a22b",
    "yolo", "gpt-oss-120b", "gpt-oss-120b-interactive",
)  # fmt: skip
"""Model names of MLPerf Inference: v0.5's and those of LoadGen's built-in mlperf.conf."""

_INTEGER_KEYS = (
    "mode", "samples_per_query", "ttft_latency", "tpot_latency", "use_token_latencies",
    "infer_token_latencies", "token_latency_scaling_factor", "performance_issue_unique",
    "performance_issue_same", "performance_issue_same_index", "sample_concatenate_permutation",
    "coalesce_queries", "max_async_queries", "min_duration", "max_duration", "min_query_count",
    "max_query_count", "performance_sample_count_override", "accuracy_sample_count_override",
    "print_timestamps", "accuracy_log_rng_seed", "accuracy_log_sampling_target", "target_latency",
)  # fmt: skip
_FLOAT_KEYS = ("target_qps", "target_latency_percentile")
_FIXED_KEYS = (
    "qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed", "accuracy_log_probability",
    "test05", "test05_qsl_rng_seed", "test05_sample_index_rng_seed", "test05_schedule_rng_seed",
)  # fmt: skip
KEYS = _INTEGER_KEYS + _FLOAT_KEYS


class UserConfError(ValueError):
    """A line of user.conf cannot be used; the message starts with `file:line:`."""


@dataclass(frozen=True)
class Entry:
    """One setting: `model.scenario.key = value` at `line`."""

    model: str
    scenario: str
    key: str
    value: float
    line: int


@dataclass(frozen=True)
class UserConf:
    """The settings of one file, in order."""

    path: str
    entries: tuple[Entry, ...]

    def get(self, model: str, scenario: str, key: str) -> Entry | None:
        """Return what LoadGen would use for `key`, or None.

        LoadGen prefers exact, then `*.scenario`, then `model.*`, then `*.*`; the last line wins.
        """
        for want in ((model, scenario), ("*", scenario), (model, "*"), ("*", "*")):
            for entry in reversed(self.entries):
                if entry.key == key and (entry.model, entry.scenario) == want:
                    return entry
        return None

    def settings(self, model: str, scenario: str) -> dict[str, Entry]:
        """Return everything that holds for a model and scenario, by key, in the file's order."""
        found = [entry for key in KEYS if (entry := self.get(model, scenario, key)) is not None]
        return {entry.key: entry for entry in sorted(found, key=lambda entry: entry.line)}


def parse_user_conf(path: str | Path, models: tuple[str, ...] = ()) -> UserConf:
    """Read `path`; `models` are names accepted beside MODELS. Raises UserConfError."""
    try:
        text = read_given(Path(path))
    except OSError as error:
        raise UserConfError(f"cannot read user.conf {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserConfError(f"{path}: {error}") from None
    known = (*MODELS, *models)
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and words[0] != "#":
            try:
                entries.append(_entry(words, number, known))
            except UserConfError as error:
                raise UserConfError(f"{path}:{number}: {error}") from None
    return UserConf(str(path), tuple(entries))


def _entry(words: list[str], number: int, models: tuple[str, ...]) -> Entry:
    if words[0].startswith("#"):
        raise UserConfError("LoadGen wants a space behind the # of a comment")
    if len(words) > 3 and words[1] == "=" and words[3].startswith("#"):
        raise UserConfError("LoadGen accepts no comment behind a value; give it its own line")
    if len(words) != 3 or words[1] != "=":
        raise UserConfError(
            "expected `model.scenario.key = value` with spaces around =, got "
            + quoted(" ".join(words))
        )
    # Model names contain dots (wan-2.2-t2v-a14b), scenarios and keys never do.
    parts = words[0].rsplit(".", 2)
    if len(parts) != 3:
        raise UserConfError(f"expected model.scenario.key before =, got {quoted(words[0])}")
    model, scenario, key = parts
    if model != "*" and model not in models:
        raise UserConfError(f"unknown model {quoted(model)}{_hint(model, models)}")
    if scenario != "*" and scenario not in SCENARIOS:
        raise UserConfError(f"unknown scenario {quoted(scenario)}{_hint(scenario, SCENARIOS)}")
    if key in _FIXED_KEYS:
        raise UserConfError(f"{key} is fixed by MLPerf: LoadGen does not read it from user.conf")
    if key not in KEYS:
        raise UserConfError(f"unknown key {quoted(key)}{_hint(key, KEYS)}")
    return Entry(model, scenario, key, _value(scenario, key, words[2]), number)


def _value(scenario: str, key: str, text: str) -> float:
    known = SCENARIOS.get(scenario)
    expected_latency = key == "target_latency" and known is not None and known.one_by_one
    try:
        if not text.isascii():
            raise ValueError("LoadGen knows no other digits")
        value = float(text) if key in _FLOAT_KEYS or expected_latency else int(text, 0)
    except ValueError:
        kind = "a number" if key in _FLOAT_KEYS or expected_latency else "a whole number"
        unit = " of milliseconds" if key.endswith(("latency", "duration")) else ""
        raise UserConfError(f"{key} must be {kind}{unit}, got {quoted(text)}") from None
    if not 0 <= value < float("inf"):
        raise UserConfError(f"{key} must not be negative or infinite, got {quoted(text)}")
    return value


def _hint(word: str, names: Iterable[str]) -> str:
    guess = nearest(word, names)
    return f" (nearest: {guess})" if guess else ""
