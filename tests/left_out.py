"""Ends a test run by naming what was left out and why; on request nothing may be left out."""

import os
from collections.abc import Generator
from typing import Final

import pytest

REQUIRE_ALL: Final = "DBACKUP_TEST_REQUIRE_ALL"
SLOW: Final = "DBACKUP_TEST_SLOW"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow suite to `make slow`: it is another command, not a test that was skipped."""
    if os.environ.get(SLOW) == "1":
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure when everything is required."""
    report = yield
    if not hasattr(report, "wasxfail"):  # an expected failure did run
        _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for files that skip themselves as a whole."""
    report = yield
    _refuse(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each reason and how many tests it left out."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = reason_of(report)
        reasons[reason] = reasons.get(reason, 0) + 1
    if not reasons:
        return
    terminalreporter.section("Left out")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"Left out: {count} {'test' if count == 1 else 'tests'}: {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped, without pytest's prefix."""
    place = report.longrepr
    text = place[2] if isinstance(place, tuple) else str(place)
    return text.removeprefix("Skipped: ")


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and os.environ.get(REQUIRE_ALL) == "1":
        report.longrepr = f"{REQUIRE_ALL}=1 allows no skips, and this was one: {reason_of(report)}"
        report.outcome = "failed"
