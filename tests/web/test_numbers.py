"""Numbers that no database holds are no server errors."""

import pytest

from tests.browser import Browser

HUGE = "99999999999999999999"


@pytest.mark.parametrize("number", [HUGE, "2147483648"])
@pytest.mark.parametrize("page", ["jobs", "runs", "restores", "channels", "sources", "users"])
def test_an_id_beyond_every_table_is_not_found(admin: Browser, page: str, number: str) -> None:
    admin.get(f"/{page}/{number}", 404)


@pytest.mark.parametrize("value", [HUGE, "-1", "x", "", "٣", "1e9"])
def test_nonsense_in_a_query_string_narrows_nothing(admin: Browser, value: str) -> None:
    for page in ("/runs", "/restores", "/storage", "/settings/audit", "/deliveries"):
        for name in ("before", "after", "job", "line"):
            admin.get(f"{page}?{name}={value}")
    assert admin.get(f"/restores/new?artifact={value}", 303) is not None
