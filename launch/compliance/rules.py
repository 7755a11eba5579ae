"""What a compliance test has to show, by the rules of the MLPerf inference compliance suite.

compliance/TEST01/verify_accuracy.py and verify_performance.py, compliance/TEST04/
verify_performance.py of mlcommons/inference, in older releases compliance/nvidia/TEST04-A/
verify_test4_performance.py: the same comparisons, thresholds and closing words, which the
submission checker looks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import InputError, RunError
from launch.compliance.settings import CACHE_TEST, SAME_TEST, UNIQUE_TEST
from loadrun.logs import LoadgenResult
from loadrun.scenarios import SCENARIOS, Scenario
from models.accuracy_log import digests

PASS, FAIL = "TEST PASS", "TEST FAIL"
TOLERANCE, SHORT_TOLERANCE = 0.10, 0.20
"""The larger one holds for short latencies, which vary more."""


@dataclass(frozen=True)
class Verdict:
    """`lines` are what the file for the submission holds, `figure` is for a person.

    `files` are those that stand beside the answers, by name, where the metric over them decided
    instead of the answers themselves.
    """

    passed: bool
    figure: str
    lines: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the content of verify_accuracy.txt or verify_performance.txt.

        It is about the answers: where the metric decided, it says that they differ.
        """
        alike = self.passed and not self.files
        return "\n".join((*self.lines, PASS if alike else FAIL)) + "\n"


def verify_answers(reference: Path, audited: Path) -> Verdict:
    """TEST01: answers of a performance run must be those of the accuracy run, byte for byte.

    Both are mlperf_log_accuracy.json. Raises RunError for a log that cannot be read.
    """
    expected: dict[int, bytes] = {}
    doubled = contradicted = 0
    try:
        known, found = digests(reference), digests(audited)
    except InputError as error:
        raise RunError(str(error)) from None
    for index, data in known:
        doubled += index in expected
        contradicted += expected.setdefault(index, data) != data
    matched = sum(index in expected for index, _ in found)
    wrong = [index for index, data in found if expected.get(index, data) != data]
    lines = [
        f"num_acc_log_entries = {len(known)}",
        f"num_acc_log_duplicate_keys = {doubled}",
        f"num_acc_log_data_mismatch = {contradicted}",
        f"num_perf_log_entries = {len(found)}",
        f"num_perf_log_qsl_idx_match = {matched}",
        f"num_perf_log_data_mismatch = {len(wrong)}",
        f"num_missing_qsl_idxs = {len(found) - matched}",
    ]
    if not matched:
        figure = "no answer of the audit run is to a sample of the accuracy run"
    elif wrong:
        figure = f"{len(wrong)} of {matched} answers differ from the accuracy run's"
        figure += f", the first to sample {wrong[0]}"
    else:
        figure = f"{matched} answers, all as in the accuracy run"
    return Verdict(matched > 0 and not wrong, figure, tuple(lines))


def verify_performance(test: str, reference: LoadgenResult, audited: LoadgenResult) -> Verdict:
    """Compare the scores of the performance run and the audit run.

    TEST01 and TEST05: within 10% of each other. TEST04: at most 10% faster, or a cache answers.
    20% for short latencies; TEST04 compares rates, so that it takes 20% for every latency. The
    pair TEST04-A and TEST04-B is compared by percentiles, as they are too short to be VALID.
    """
    for name, result in (("reference", reference), ("audit", audited)):
        if not result.valid and test != SAME_TEST:
            return Verdict(False, f"the {name} run is INVALID", (f"{name} run: INVALID",))
    if audited.scenario != reference.scenario:
        figure = f"the audit run is {audited.scenario}, the reference {reference.scenario}"
        return Verdict(False, figure, (figure,))
    scenario = SCENARIOS[reference.scenario]
    limits = [r.fields.get("effective_target_latency_ns") for r in (reference, audited)]
    if scenario.limit is not None and limits[0] != limits[1]:
        figure = f"{scenario.name} latency limits differ: {limits[0]} and {limits[1]} ns"
        return Verdict(False, figure, (figure,))
    if test == SAME_TEST:
        return _verify_pair(scenario, reference, audited)
    scores = [float(result.fields.get(scenario.metric.key) or 0) for result in (reference, audited)]
    if not all(scores):
        figure = "too few queries for an early-stopping estimate"
        return Verdict(False, figure, (figure,))
    if test == CACHE_TEST and scenario.one_by_one:
        scores = [1e9 / score for score in scores]
    ratio = scores[1] / scores[0]
    tolerance = SHORT_TOLERANCE if scores[0] <= scenario.short_ns else TOLERANCE
    passed = ratio < 1 + tolerance if test == CACHE_TEST else abs(ratio - 1) <= tolerance
    allowed = f"below {1 + tolerance:.2f}" if test == CACHE_TEST else f"1 +- {tolerance:.2f}"
    figure = f"audit run / performance run = {ratio:.3f} (allowed: {allowed})"
    return Verdict(passed, figure, (f"reference score = {scores[0]}", f"test score = {scores[1]}"))


def _verify_pair(scenario: Scenario, unique: LoadgenResult, same: LoadgenResult) -> Verdict:
    """Compare every sample once with the same one again and again, by what few queries give."""
    scores = [_score(scenario, result) for result in (unique, same)]
    if not all(scores):
        figure = "no query was answered"
        return Verdict(False, figure, (figure,))
    ratio = scores[1] / scores[0]
    short = scenario.one_sample and scores[0] <= scenario.short_ns
    tolerance = SHORT_TOLERANCE if short else TOLERANCE
    if scenario.one_by_one:
        passed, allowed = ratio > 1 - tolerance, f"above {1 - tolerance:.2f}"
    else:
        passed, allowed = ratio < 1 + tolerance, f"below {1 + tolerance:.2f}"
    figure = f"{SAME_TEST} / {UNIQUE_TEST} = {ratio:.3f} (allowed: {allowed})"
    lines = (f"{UNIQUE_TEST} score = {scores[0]}", f"{SAME_TEST} score = {scores[1]}")
    return Verdict(passed, figure, lines)


def _score(scenario: Scenario, result: LoadgenResult) -> float:
    """The latency in ns below which the scenario's share of queries is, or its rate."""
    if not scenario.one_by_one:
        return float(result.fields.get(scenario.metric.key) or 0)
    share = float(result.fields.get("effective_target_latency_percentile") or 0)
    return result.latencies_ns.get(f"p{100 * share:g}", 0)
