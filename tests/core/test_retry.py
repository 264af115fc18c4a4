"""When a delivery is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.core import retry
from webapp.core.errors import PermanentError, TransientError

DAY = timedelta(hours=24)


@pytest.mark.parametrize("error", [PermanentError("no"), ValueError("bug")])
def test_only_transient_errors_are_retried(error: Exception) -> None:
    assert retry.delay(error, 1) is None


@given(attempt=st.integers(1, 50))
def test_waits_stay_within_a_fifth_of_the_list(attempt: int) -> None:
    step = retry.STEPS[min(attempt, 8) - 1]
    wait = retry.delay(TransientError("503"), attempt)
    assert wait is not None
    assert step * 0.8 <= wait <= step * 1.2


@given(hint=st.timedeltas(timedelta(days=-1), timedelta(days=400)), attempt=st.integers(1, 9))
def test_a_hint_never_shortens_the_wait_and_is_clamped_to_a_day(
    hint: timedelta, attempt: int
) -> None:
    wait = retry.delay(TransientError("429", retry_after=hint), attempt)
    assert wait is not None
    assert wait >= min(max(hint, timedelta(seconds=1)), DAY)
    assert wait <= max(DAY, retry.STEPS[min(attempt, 8) - 1] * 1.2)
