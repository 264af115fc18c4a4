"""What is said about known vulnerabilities."""

import json

from tools.audit import judge


def report(*found: dict[str, object]) -> str:
    return json.dumps({"dependencies": list(found), "fixes": []})


CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
BAD = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
SKIPPED = {"name": "far", "skip_reason": "Dependency not found and could not be audited"}


def test_a_vulnerability_is_named_and_fails() -> None:
    verdict = judge(report(CLEAN, BAD))
    assert verdict.is_vulnerable
    assert verdict.text == "2 of 2 packages checked, 1 vulnerable\n  old 1.0: PYSEC-1, PYSEC-2"


def test_a_service_that_knows_nothing_is_not_a_clean_answer() -> None:
    verdict = judge(report(SKIPPED, SKIPPED))
    assert verdict.text.startswith("NOT CHECKED")
    assert "0 of 2" in verdict.text


def test_what_was_skipped_is_named_beside_what_was_checked() -> None:
    assert judge(report(CLEAN, SKIPPED)).text.endswith("NOT CHECKED: far")


def test_no_report_at_all_is_not_a_clean_answer() -> None:
    assert judge("").text.startswith("NOT CHECKED")
