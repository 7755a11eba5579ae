"""How many samples a test will have, where LoadGen fixes that before it starts."""

from __future__ import annotations

import math

from loadrun.config import LoadrunConfig
from loadrun.scenarios import MODES, SCENARIOS
from loadrun.settings import Settings, offline_samples, whole_sets


def expected_samples(settings: Settings, config: LoadrunConfig) -> int | None:
    """Return the samples of all phases of the test; None where the clock or a search ends it.

    Server's number is that of the average schedule: LoadGen draws the times of its queries.
    """
    mode = MODES[settings.mode]
    if mode.searches:
        return None
    total = 0
    if mode.accuracy:
        total += settings.effective.accuracy_sample_count_override or config.sample_count
    if mode.performance:
        samples = _performance_samples(settings)
        if samples is None:
            return None
        total += samples
    return total


def _performance_samples(settings: Settings) -> int | None:
    test, scenario = settings.effective, SCENARIOS[settings.scenario]
    if scenario.at_once:
        return int(offline_samples(test))
    if scenario.scheduled:
        scheduled = math.ceil(test.min_duration_ms / 1e3 * test.server_target_qps)
        queries = whole_sets(test, max(test.min_query_count, scheduled))
        return int(min(queries, test.max_query_count or queries))
    # One query after the other until both minima are met: with a duration the clock decides.
    if test.min_duration_ms:
        return None
    several = scenario.samples_per_query
    queries = whole_sets(test, test.min_query_count)
    return int(queries * (getattr(test, several) if several else 1))
