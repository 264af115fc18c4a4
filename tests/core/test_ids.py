"""Identifiers sort by creation and say their version."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from webapp.core import ids


def test_ids_are_version_7_of_the_present_moment() -> None:
    made = uuid.UUID(ids.uuid7())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) - time.time() * 1000) < 5000


def test_ids_of_one_process_increase() -> None:
    made = [ids.uuid7() for _ in range(5000)]
    assert made == sorted(made)


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ids.uuid7(), range(5000)))
    assert len(set(made)) == 5000


def test_people_see_the_last_eight_characters() -> None:
    assert ids.short("019a0000-0000-7000-8000-00000abcdef1") == "0abcdef1"
