"""Whether a test will last far longer than was asked for, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from base.errors import TooLongError
from loadrun.config import LoadrunConfig
from loadrun.durations import duration
from loadrun.scenarios import MODES, SCENARIOS
from loadrun.settings import (
    Settings,
    accuracy_s,
    measured_target,
    offline_samples,
    performance_s,
)
from loadrun.user_conf import Entry, parse_user_conf

TIMES = 3
"""A test may take so many times what was asked for."""
EXCESS_S = 60.0
"""So much more than was asked for bothers nobody, whatever the ratio."""
_SIGNIFICANT = 3


@dataclass(frozen=True)
class _Cause:
    """What makes a test long, in words, and what would make it as long as was asked for."""

    why: str
    cure: str


def check_length(settings: Settings, config: LoadrunConfig, rate: float) -> None:
    """Raise TooLongError unless the test, at `rate` samples/s, is about as long as asked for.

    A search (FindPeakPerformance) and a number of queries without a duration ask for no length.
    """
    if rate <= 0:
        return
    for expected_s, asked_s, what, cause in _parts(settings, config, rate):
        if expected_s > TIMES * asked_s and expected_s - asked_s > EXCESS_S:
            raise TooLongError(
                f"expected duration {duration(expected_s)}, {expected_s / asked_s:.3g} times the"
                f" {duration(asked_s)} {what}: {cause.why}; {cause.cure}, or give --yes to run it"
                " all the same"
            )


def _parts(
    settings: Settings, config: LoadrunConfig, rate: float
) -> Iterator[tuple[float, float, str, _Cause]]:
    """What is expected and what was asked for, in s, of each part of the test."""
    mode, asked_s = MODES[settings.mode], settings.effective.min_duration_ms / 1e3
    if mode.performance and asked_s:
        expected_s = performance_s(settings, config, rate)
        yield expected_s, asked_s, "asked for", _performance(settings, config, rate)
    if mode.accuracy and SCENARIOS[config.scenario].scheduled:
        samples = settings.effective.accuracy_sample_count_override or config.sample_count
        target = _where_target(settings, config)
        cause = _Cause(
            f"{target} sets the pace, and the instances answer {_short(rate)} samples/s",
            _change_target(settings, config, rate),
        )
        expected_s = accuracy_s(settings, config, rate)
        yield expected_s, samples / rate, "that the samples take", cause


def _performance(settings: Settings, config: LoadrunConfig, rate: float) -> _Cause:
    test, scenario = settings.effective, SCENARIOS[config.scenario]
    answers = f"the instances answer {_short(rate)} samples/s"
    if scenario.at_once:
        by_target = offline_samples(test) > test.min_query_count
    else:
        enough = test.min_query_count <= test.min_duration_ms / 1e3 * rate
        by_target = scenario.scheduled and (test.server_target_qps > rate or enough)
    if by_target:
        target = _where_target(settings, config)
        asks = f" asks for {offline_samples(test):,} samples" if scenario.at_once else ""
        return _Cause(f"{target}{asks}, and {answers}", _change_target(settings, config, rate))
    what = "samples" if scenario.at_once else "queries"
    why = f"at least {test.min_query_count:,} {what} are asked for"
    entry = _entry(config, "min_query_count")
    if config.overrides.min_query_count is not None:
        option = "--min-query-count" if config.overrides.max_query_count is None else "--count"
        return _Cause(f"{why} ({option}), and {answers}", f"lower {option}")
    if entry is not None:
        place = f"{config.user_conf}:{entry.line}"
        return _Cause(f"{why} by min_query_count in {place}, and {answers}", "lower it there")
    return _Cause(
        f"{why} by MLPerf's rules, and {answers}", "--fast asks for no number (not official)"
    )


def _entry(config: LoadrunConfig, key: str) -> Entry | None:
    if config.user_conf is None:
        return None
    conf = parse_user_conf(config.user_conf, models=(config.model,))
    return conf.get(config.model, config.scenario, key)


def _where_target(settings: Settings, config: LoadrunConfig) -> str:
    """The expected rate, with who has set it."""
    target = SCENARIOS[config.scenario].target
    value = getattr(settings.effective, target.setting)
    entry = _entry(config, target.key)
    if settings.target_source == "option":
        return f"--qps {value:g}"
    if entry is not None:
        return f"target_qps {value:g} in {config.user_conf}:{entry.line}"
    return f"a target_qps of {_short(value)}"


def _change_target(settings: Settings, config: LoadrunConfig, rate: float) -> str:
    target = _short(measured_target(settings, config, rate))
    if settings.target_source == "option":
        return f"give --qps {target}, or leave it out: the rate at warm-up then sets it"
    if settings.target_source == "user.conf":
        return (
            f"set it to about {target} there, or take the line out: the rate at warm-up then sets"
            " it"
        )
    return f"give --qps {target}"


def _short(value: float) -> str:
    return f"{value:.{_SIGNIFICANT}g}" if value < 1000 else f"{value:.0f}"
