"""LoadGen's TestSettings: mlperf.conf, then user.conf, then the command line.

What neither user.conf nor the command line says about the expected rate comes from the rate
measured at warm-up. Nothing measured ever replaces a value that a person has set.

LoadGen's `FromConfig(path, model, scenario, conf_type)`: 0 reads the mlperf.conf compiled into
LoadGen and ignores the path; 1 is user.conf, allowed once a process (a second call is logged as an
error that spoils a submission); 2 is an audit.config, which LoadGen reads itself at StartTest.
"""

from __future__ import annotations

import codecs
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg

from base.errors import InputError
from loadrun.capacity import EQUAL, at_share, fits_limit, server_qps, service_time_s
from loadrun.config import LoadrunConfig
from loadrun.rounds import AUDIT_SEEDS, ROUNDS
from loadrun.scenarios import (
    HARNESS_SAMPLES_S,
    MODES,
    SCENARIOS,
    Scenario,
    parse_mode,
    parse_scenario,
)
from loadrun.user_conf import UserConf, UserConfError, parse_user_conf

__all__ = [
    "MODES",
    "SCENARIOS",
    "Settings",
    "SettingsError",
    "apply_measured_rate",
    "as_dict",
    "build_settings",
    "expected_duration_s",
    "load_settings",
    "parse_mode",
    "parse_scenario",
    "unofficial",
]

OFFICIAL_DURATION_MS = 600_000
"""Minimum duration of every scenario (MLPerf Inference rules, section 4.1)."""
_DEFAULT_PERFORMANCE_SAMPLES = 1024
_UNSET = 1 << 60
"""Beyond any count: what is still there was not in the file that was read."""
_OFFLINE_SLACK = 1.1
"""LoadGen issues this much more than target_qps * min_duration in Offline."""
_OFFLINE_MARGIN = 1.1
"""A warm-up is short and may read low; a query issued too small makes a run INVALID."""
_ACCURACY_LOAD = 0.9
"""Share of the rate at which answers about accuracy are asked for on a schedule."""
_LATENCY_MARGIN = 0.5
"""LoadGen makes queries for twice min_duration at the expected latency and then runs dry."""
_MOST_QUERIES = 8_000_000
"""Bound on the queries made beforehand (about 300 bytes each) for very fast engines."""

_FIELDS = (
    "single_stream_expected_latency_ns", "single_stream_target_latency_percentile",
    "multi_stream_expected_latency_ns", "multi_stream_target_latency_percentile",
    "multi_stream_samples_per_query", "server_target_qps", "server_target_latency_ns",
    "server_target_latency_percentile", "server_coalesce_queries",
    "server_find_peak_qps_decimals_of_precision", "server_find_peak_qps_boundary_step_size",
    "server_max_async_queries", "server_num_issue_query_threads", "offline_expected_qps",
    "sample_concatenate_permutation", "min_duration_ms", "max_duration_ms", "min_query_count",
    "max_query_count", "qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed",
    "accuracy_log_rng_seed", "accuracy_log_probability", "accuracy_log_sampling_target", "test05",
    "test05_qsl_rng_seed", "test05_sample_index_rng_seed", "test05_schedule_rng_seed",
    "print_timestamps", "performance_issue_unique", "performance_issue_same",
    "performance_issue_same_index", "performance_sample_count_override",
    "accuracy_sample_count_override", "use_token_latencies",
)  # fmt: skip


class SettingsError(InputError):
    """The settings cannot be built; one line with the file or option and the cure."""


@dataclass
class Settings:
    """The settings of one test.

    `test` goes to LoadGen; `rules` is mlperf.conf alone, what an official result is held against;
    `effective` is `test` with audit.config applied, as LoadGen will apply it. `target_source` says
    where the expected rate came from: option, user.conf or measured. `notes` are remarks for a
    person, one sentence each. `costs` are equally likely ones of samples, in parts of the mean, as
    `loadrun.capacity.quantiles` gives them.
    """

    test: lg.TestSettings
    rules: lg.TestSettings
    effective: lg.TestSettings
    scenario: str
    sample_count: int
    target_source: str
    notes: list[str] = field(default_factory=list)
    costs: Sequence[float] = EQUAL

    @property
    def mode(self) -> str:
        """The mode LoadGen will run, an audit.config considered."""
        return str(self.effective.mode.name)

    @property
    def performance_sample_count(self) -> int:
        """Samples that LoadGen loads at a time: what the sample arena has to hold."""
        return int(self.effective.performance_sample_count_override)

    @property
    def latency_limit_s(self) -> float | None:
        """Server's latency limit in s; None in the other scenarios."""
        limit = SCENARIOS[self.scenario].limit
        return None if limit is None else float(getattr(self.effective, limit) / 1e9)


def build_settings(config: LoadrunConfig, measured_rate: float | None = None) -> Settings:
    """Return the settings of `config`; `measured_rate` is samples/s over all instances."""
    settings = load_settings(config)
    if measured_rate is not None:
        apply_measured_rate(settings, config, measured_rate)
    return settings


def load_settings(config: LoadrunConfig) -> Settings:
    """Read mlperf.conf, user.conf and the command line's overrides. Raises SettingsError."""
    user_conf = _read(config.user_conf, config)
    rules = _base(config)
    test = _base(config)
    # Queries whose time has passed come in one call: LoadGen's thread catches up with its schedule
    # instead of falling further behind. Their latencies count from their own times all the same
    # (mlcommons/inference pull request 618; official submissions set it, the default is off).
    test.server_coalesce_queries = SCENARIOS[config.scenario].scheduled
    if user_conf is not None:
        _from_user_conf(test, user_conf.path, config)
        limit = SCENARIOS[config.scenario].limit
        if limit and user_conf.get(config.model, config.scenario, "target_latency") is None:
            # LoadGen reads mlperf.conf along, whose limit for all is not the benchmark's own.
            setattr(test, limit, getattr(rules, limit))
    # user.conf can carry a `mode`; the command line decides.
    test.mode = getattr(lg.TestMode, config.mode)
    _apply_overrides(test, config)
    if config.round is not None:
        # Last: LoadGen sets its own once more where it reads user.conf, and takes none from others.
        seeds = (AUDIT_SEEDS if config.other_seeds else ROUNDS)[config.round]
        test.qsl_rng_seed = seeds.qsl
        test.sample_index_rng_seed = seeds.sample_index
        test.schedule_rng_seed = seeds.schedule
    settings = Settings(
        test=test,
        rules=rules,
        effective=test,
        scenario=config.scenario,
        sample_count=config.sample_count,
        target_source=_target_source(config, user_conf),
    )
    _fit_sample_counts(settings, config)
    _drop_permutations(settings, config)
    _apply_audit(settings, config)
    return settings


def apply_measured_rate(settings: Settings, config: LoadrunConfig, rate: float) -> None:
    """Set the expected rate from `rate` (samples/s over all instances) unless a person has set it.

    Raises SettingsError when the rate is needed and not positive.
    """
    test, scenario = settings.test, SCENARIOS[config.scenario]
    if settings.target_source == "measured":
        if rate <= 0:
            raise SettingsError(
                "no rate was measured at warm-up; give --qps or set target_qps in user.conf"
            )
        target = measured_target(settings, config, rate)
        most = scenario.most_target
        if most is not None and target > most:
            settings.notes.append(
                f"the rate of the engines alone, {rate:.3g} samples/s, is more than loadrun is "
                f"expected to carry; target_qps is {most:g} (--qps sets another)"
            )
            target = most
        setattr(test, scenario.target.setting, target)
    _bound_offline(test, config)
    if MODES[config.mode].searches:
        # A tenth of a query per second is noise on all but the slowest machines, and every
        # binary digit costs a whole test.
        test.server_find_peak_qps_decimals_of_precision = 1 if test.server_target_qps < 20 else 0
    limit_s, costs = settings.latency_limit_s, settings.costs
    cost = at_share(costs, test.server_target_latency_percentile)
    if limit_s and rate > 0 and not fits_limit(rate, config.instances, limit_s, cost):
        service_ms = 1e3 * service_time_s(rate, config.instances, cost)
        sample = "one sample" if len(costs) == 1 else "a long sample"
        settings.notes.append(
            f"{sample} takes about {service_ms:.3g} ms on an instance and the latency limit is "
            f"{1e3 * limit_s:.3g} ms: {_wider(config)}"
        )
    _apply_audit(settings, config)


def _wider(config: LoadrunConfig) -> str:
    if config.instances > 1:
        return "fewer instances with more processors each are needed"
    return "one instance is too slow for it, whatever the rate (--max-latency sets another limit)"


def measured_target(settings: Settings, config: LoadrunConfig, rate: float) -> float:
    """Return the target that `rate`, samples/s over all instances, calls for, in LoadGen's unit."""
    test, scenario = settings.test, SCENARIOS[config.scenario]
    if scenario.at_once:
        return _OFFLINE_MARGIN * rate
    if scenario.scheduled and not MODES[config.mode].performance:
        # Nobody looks at latencies.
        return _ACCURACY_LOAD * rate
    if scenario.scheduled:
        qps = server_qps(
            rate,
            config.instances,
            test.server_target_latency_ns / 1e9,
            test.server_target_latency_percentile,
            settings.costs,
        )
        # The search starts from a load that must hold and doubles it.
        return qps / 2 if MODES[config.mode].searches else qps
    shortest_s = 2 * test.min_duration_ms / 1e3 / _MOST_QUERIES
    return float(max(_LATENCY_MARGIN * _query_s(test, config, rate), shortest_s) * 1e9)


def _read(path: str | None, config: LoadrunConfig) -> UserConf | None:
    if path is None:
        return None
    try:
        return parse_user_conf(path, models=(config.model,))
    except UserConfError as error:
        raise SettingsError(str(error)) from None


def _base(config: LoadrunConfig) -> lg.TestSettings:
    """mlperf.conf, and the benchmark's own values for what it does not name (mobilenet).

    0 is one of its values: a performance set of 0 samples is the whole data set (3d-unet).
    """
    test = lg.TestSettings()
    test.scenario = getattr(lg.TestScenario, config.scenario)
    test.mode = getattr(lg.TestMode, config.mode)
    queries = test.min_query_count
    test.performance_sample_count_override = test.min_query_count = _UNSET
    _from_config(test, "", config, conf_type=0)
    scenario = SCENARIOS[config.scenario]
    if test.min_query_count == _UNSET:
        test.min_query_count = config.offline_samples if scenario.at_once else queries
    unnamed = test.performance_sample_count_override == _UNSET
    if unnamed:
        own = config.performance_sample_count
        test.performance_sample_count_override = (
            _DEFAULT_PERFORMANCE_SAMPLES if own is None else own
        )
    limit_ms = config.server_latency_ms if unnamed or config.round is not None else None
    if scenario.limit is not None and limit_ms is not None:
        setattr(test, scenario.limit, round(limit_ms * 1e6))
    return test


def _from_user_conf(test: lg.TestSettings, path: str, config: LoadrunConfig) -> None:
    """Let LoadGen read user.conf; it knows no byte order mark, so that it gets a copy without."""
    text = Path(path).read_bytes()
    if not text.startswith(codecs.BOM_UTF8):
        _from_config(test, path, config, conf_type=1)
        return
    copy = os.memfd_create("user.conf")
    try:
        os.write(copy, text.removeprefix(codecs.BOM_UTF8))
        _from_config(test, f"/proc/self/fd/{copy}", config, conf_type=1)
    finally:
        os.close(copy)


def _from_config(test: lg.TestSettings, path: str, config: LoadrunConfig, conf_type: int) -> None:
    # As bytes: LoadGen's binding takes no name that is not UTF-8 otherwise.
    code = test.FromConfig(os.fsencode(path), config.model, config.scenario, conf_type)
    if code != 0:
        name = path or "the built-in mlperf.conf"
        raise SettingsError(f"LoadGen cannot read {name} (FromConfig returned {code})")


def _apply_overrides(test: lg.TestSettings, config: LoadrunConfig) -> None:
    overrides, scenario = config.overrides, SCENARIOS[config.scenario]
    if overrides.min_duration_s is not None:
        test.min_duration_ms = round(overrides.min_duration_s * 1e3)
    if overrides.min_query_count is not None:
        test.min_query_count = overrides.min_query_count
    if overrides.max_query_count is not None:
        # Offline has one query, however many samples: see _bound_offline.
        test.max_query_count = 0 if scenario.at_once else overrides.max_query_count
    if overrides.samples_per_query is not None and scenario.samples_per_query is not None:
        setattr(test, scenario.samples_per_query, overrides.samples_per_query)
    if overrides.target_latency_ms is not None:
        nanoseconds = overrides.target_latency_ms * 1e6
        if scenario.limit is not None:
            setattr(test, scenario.limit, round(nanoseconds))
        else:
            setattr(test, scenario.target.setting, nanoseconds)
    if overrides.target_qps is not None:
        qps = overrides.target_qps
        setattr(test, scenario.target.setting, 1e9 / qps if scenario.one_by_one else qps)


def _bound_offline(test: lg.TestSettings, config: LoadrunConfig) -> None:
    """Hold Offline's one query to max_query_count samples.

    LoadGen issues max(min_query_count, 1.1 * min_duration * target_qps) samples and has no bound
    of its own: max_query_count counts queries there.
    """
    most = config.overrides.max_query_count
    if not SCENARIOS[config.scenario].at_once or not most:
        return
    test.min_query_count = min(test.min_query_count, most)
    if test.min_duration_ms:
        bound = most / (_OFFLINE_SLACK * test.min_duration_ms / 1e3)
        test.offline_expected_qps = min(test.offline_expected_qps, bound)


def _target_source(config: LoadrunConfig, user_conf: UserConf | None) -> str:
    overrides, scenario = config.overrides, SCENARIOS[config.scenario]
    expected_latency = scenario.one_by_one and overrides.target_latency_ms is not None
    if overrides.target_qps is not None or expected_latency:
        return "option"
    key = scenario.target.key
    if user_conf is not None and user_conf.get(config.model, config.scenario, key) is not None:
        return "user.conf"
    return "measured"


def _fit_sample_counts(settings: Settings, config: LoadrunConfig) -> None:
    """A performance set larger than the data set would make LoadGen ask for rows beyond it."""
    test = settings.test
    wanted = test.performance_sample_count_override or config.sample_count
    if wanted > config.sample_count:
        settings.notes.append(
            f"{config.sample_count} samples are served, fewer than performance_sample_count "
            f"{wanted}; all of them are used"
        )
    test.performance_sample_count_override = min(wanted, config.sample_count)
    if test.accuracy_sample_count_override > config.sample_count:
        test.accuracy_sample_count_override = config.sample_count


def _drop_permutations(settings: Settings, config: LoadrunConfig) -> None:
    """Do without whole sets where fewer samples are asked for than one has.

    LoadGen would round their number up, and of volumes that take a minute each nobody asks for 43
    by asking for 5.
    """
    overrides, test = config.overrides, settings.test
    counts = [c for c in (overrides.min_query_count, overrides.max_query_count) if c]
    if counts and min(counts) < test.performance_sample_count_override:
        test.sample_concatenate_permutation = False


def _apply_audit(settings: Settings, config: LoadrunConfig) -> None:
    if config.audit_config is None:
        return
    effective = lg.TestSettings()
    for name in ("scenario", "mode", *_FIELDS):
        setattr(effective, name, getattr(settings.test, name))
    code = effective.FromConfig(os.fsencode(config.audit_config), "*", config.scenario, 2)
    if code != 0:
        raise SettingsError(
            f"LoadGen cannot read {config.audit_config} (FromConfig returned {code})"
        )
    if effective.test05:
        effective.mode = lg.TestMode.PerformanceOnly
    settings.effective = effective


def expected_duration_s(settings: Settings, config: LoadrunConfig, rate: float) -> float | None:
    """Return how long LoadGen will take at `rate` samples/s, in s; None when it cannot be said."""
    if rate <= 0:
        return None
    rate, mode = min(rate, HARNESS_SAMPLES_S), MODES[settings.mode]
    total = 0.0
    if mode.accuracy:
        total += accuracy_s(settings, config, rate)
    if mode.performance:
        total += performance_s(settings, config, rate)
    if mode.searches:
        total += _search_s(settings, config, rate)
    return total


def _query_s(test: lg.TestSettings, config: LoadrunConfig, rate: float) -> float:
    """Expected latency of one SingleStream or MultiStream query, in s."""
    several = SCENARIOS[config.scenario].samples_per_query
    # A lone sample has one instance work, at its share of the rate.
    return float((config.instances if several is None else getattr(test, several)) / rate)


def offline_samples(test: lg.TestSettings) -> int:
    """Return the samples of LoadGen's one Offline query."""
    if test.performance_issue_unique:
        return int(test.performance_sample_count_override)
    planned = int(_OFFLINE_SLACK * test.min_duration_ms / 1e3 * test.offline_expected_qps)
    return whole_sets(test, max(int(test.min_query_count), planned))


def whole_sets(test: lg.TestSettings, count: int) -> int:
    """Return how many samples or queries LoadGen makes of `count`.

    Where it issues the loaded set in one permutation after the other
    (sample_concatenate_permutation), it makes no part of one.
    """
    each = int(test.performance_sample_count_override)
    return math.ceil(count / each) * each if test.sample_concatenate_permutation else count


def performance_s(settings: Settings, config: LoadrunConfig, rate: float) -> float:
    """Return how long the performance test takes at `rate` samples/s, in s."""
    test, scenario = settings.effective, SCENARIOS[config.scenario]
    duration_s = test.min_duration_ms / 1e3
    if scenario.at_once:
        return offline_samples(test) / rate
    queries = whole_sets(test, test.min_query_count)
    if scenario.scheduled:
        query_s = 1 / test.server_target_qps
        # Late queries still have to be answered.
        backlog = max(1.0, test.server_target_qps / rate)
        estimate = max(duration_s, queries * query_s) * backlog
    else:
        query_s = _query_s(test, config, rate)
        estimate = max(duration_s, queries * query_s)
    if test.max_query_count:
        estimate = min(estimate, test.max_query_count * query_s)
    if test.max_duration_ms:
        estimate = min(estimate, test.max_duration_ms / 1e3)
    return float(estimate)


def accuracy_s(settings: Settings, config: LoadrunConfig, rate: float) -> float:
    """Return how long the accuracy test takes at `rate` samples/s, in s."""
    test, scenario = settings.effective, SCENARIOS[config.scenario]
    samples = test.accuracy_sample_count_override or config.sample_count
    if scenario.scheduled:
        return float(samples / min(rate, test.server_target_qps))
    if scenario.one_sample:
        return float(samples * config.instances / rate)
    return float(samples / rate)


def _search_s(settings: Settings, config: LoadrunConfig, rate: float) -> float:
    """Double the load until it fails, then halve the interval down to LoadGen's precision."""
    test = settings.effective
    doublings = max(1, math.ceil(math.log2(max(2.0, rate / test.server_target_qps))))
    precision = 10**test.server_find_peak_qps_decimals_of_precision
    halvings = max(0, math.ceil(math.log2(max(1.0, rate / 2 * precision))))
    return (1 + doublings + halvings) * performance_s(settings, config, rate)


def unofficial(settings: Settings) -> list[str]:
    """Return why a result of these settings is not official; empty when nothing speaks against it.

    Held against LoadGen's mlperf.conf and the MLPerf Inference rules; data, weights and models are
    the caller's to judge.
    """
    test, rules, mode = settings.effective, settings.rules, MODES[settings.mode]
    reasons = []
    if mode.searches:
        reasons.append(f"{mode.name} searches; its figure is not a result")
    if not mode.accuracy_only:
        scenario = SCENARIOS[settings.scenario]
        reasons += _unofficial_performance(test, rules, scenario, settings.sample_count)
    if 0 < test.accuracy_sample_count_override < settings.sample_count:
        reasons.append(f"accuracy over {test.accuracy_sample_count_override} samples only")
    return reasons


def _unofficial_performance(
    test: lg.TestSettings, rules: lg.TestSettings, scenario: Scenario, samples: int
) -> list[str]:
    """As `unofficial`; `samples` is the size of the data set."""
    reasons = []
    if test.min_duration_ms < OFFICIAL_DURATION_MS:
        reasons.append(f"minimum duration {test.min_duration_ms / 1e3:g} s, below 600 s")
    # The count of Server and SingleStream is LoadGen's own default and no rule: early stopping
    # decides there.
    if scenario.counts and test.min_query_count < rules.min_query_count:
        what = "samples" if scenario.at_once else "queries"
        reasons.append(f"minimum {test.min_query_count} {what}, below {rules.min_query_count}")
    if test.max_query_count:
        reasons.append(f"at most {test.max_query_count} queries")
    if test.max_duration_ms:
        reasons.append(f"at most {test.max_duration_ms / 1e3:g} s")
    official = rules.performance_sample_count_override or samples
    if test.performance_sample_count_override < official:
        reasons.append(
            f"performance set of {test.performance_sample_count_override} samples, below {official}"
        )
    if rules.sample_concatenate_permutation and not test.sample_concatenate_permutation:
        reasons.append("samples are not issued in whole sets (sample_concatenate_permutation)")
    if scenario.limit is not None:
        limit, right = getattr(test, scenario.limit), getattr(rules, scenario.limit)
        if limit != right:
            reasons.append(f"latency limit {limit / 1e6:g} ms instead of {right / 1e6:g} ms")
    if (several := scenario.samples_per_query) is not None:
        count, official = getattr(test, several), getattr(rules, several)
        if count != official:
            reasons.append(f"{count} samples per query instead of {official}")
    if scenario.percentile is not None:
        chosen, official = getattr(test, scenario.percentile), getattr(rules, scenario.percentile)
        if not math.isclose(chosen, official):
            reasons.append(f"latency percentile {100 * chosen:g} instead of {100 * official:g}")
    return reasons


def as_dict(test: lg.TestSettings) -> dict[str, Any]:
    """Return every field of LoadGen's settings by its name in LoadGen, fit for JSON."""
    fields = {name: getattr(test, name) for name in _FIELDS}
    return {"scenario": test.scenario.name, "mode": test.mode.name, **fields}
