"""Names of artifacts: what a pattern may be, and how long a name can get."""

from datetime import UTC, datetime

import pytest

from webapp.core.errors import InvalidError
from webapp.services import artifact_names

NAME_MAX = 255
"""Bytes that a file's name may have nearly everywhere."""
DECORATION = ".sql.zst.age.json" + "." + ".0123abcd.half"
"""What is added to the longest of them: a manifest that is being written."""


@pytest.mark.parametrize(
    "pattern",
    [
        "{job}{job}{job}{job}{job}{job}-{date}",
        "{job}" * 18 + "{date}",
        "{job}{source}{database}" * 2 + "{date}",
        "{date}{job}{source}" + "x" * 80,
    ],
)
def test_a_pattern_whose_names_no_file_system_takes_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="longer than the 200 characters"):
        artifact_names.check(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["{job}{source}{database}{date}{time}" + "x" * 62, "{job}_{source}_{date}" + "x" * 67],
)
def test_the_longest_name_of_an_accepted_pattern_can_be_stored(pattern: str) -> None:
    artifact_names.check(pattern)
    names = artifact_names.render(
        pattern,
        job="j" * 100,
        source="s" * 60,
        moment=datetime(2026, 10, 17, 3, tzinfo=UTC),
        run_id=2**31,
        attempt=11,
        databases=["d" * 63, "d" * 64],
    )
    assert len(set(names)) == 2
    assert all(len(name + DECORATION) <= NAME_MAX for name in names)
