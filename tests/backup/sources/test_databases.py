import pytest
from werkzeug.datastructures import MultiDict

from webapp.backup.sources import databases
from webapp.backup.sources.mysql_form import MysqlForm
from webapp.backup.sources.postgresql_form import PostgresqlForm


def form(typed: str, form_type: type[PostgresqlForm | MysqlForm] = PostgresqlForm) -> object:
    sent = MultiDict({"host": "h", "port": "1", "user": "u", "sslmode": "prefer", "tls": "prefer"})
    sent["database"] = typed
    made = form_type(sent)
    made.validate()
    return made


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("shop", ("shop",)),
        ("shop\ncrm", ("shop", "crm")),
        (" shop, crm ,\r\n\r\nblog, shop", ("shop", "crm", "blog")),
        ('"a, b"\n"say ""no"""', ("a, b", 'say "no"')),
        ("größe\n日本", ("größe", "日本")),
        (" , ", ()),
    ],
)
def test_a_list_is_read_line_by_line_and_by_commas(typed: str, found: tuple[str, ...]) -> None:
    assert databases.parse(typed) == found


@pytest.mark.parametrize("name", ["shop", "a, b", 'say "no"', '"', "two words"])
def test_what_the_form_shows_comes_back_as_it_was(name: str) -> None:
    stored = f"{name}\nother"
    shown = PostgresqlForm(data={"database": stored}).database._value()
    assert databases.parse(shown) == (name, "other")


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ("", "Enter the name of a database."),
        (" ,\n", "Enter the name of a database."),
        ("ok\n" + "x" * 64, "longer than 63"),
        ("a\tb", "cannot be used"),
        ("\n".join(f"db{number}" for number in range(201)), "at most 200"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(typed: str, wrong: str) -> None:
    assert wrong in " ".join(form(typed).database.errors)  # type: ignore[attr-defined]


def test_each_name_is_checked_as_its_server_wants() -> None:
    assert form("shop\n-x", MysqlForm).database.errors  # type: ignore[attr-defined]
    assert not form("shop\nx-y", MysqlForm).database.errors  # type: ignore[attr-defined]


def test_a_summary_stays_short() -> None:
    assert databases.summary(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert databases.summary(["shop"]) == "shop"
