"""Microsoft Teams: the card, its size, the workflow's URL, and what Power Automate's codes mean."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile
from tests.servers.teams import HOST, PATH, QUERY, problem_of, refused, texts
from tests.servers.teams import Teams as Service
from webapp.core.errors import PermanentError, TransientError
from webapp.notify.channels.base import Receipt
from webapp.notify.channels.teams import Teams
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Outbound

SIGNATURE = "s" * 43
URL = f"https://{HOST}:443{PATH}?{QUERY}{SIGNATURE}"
OLD = (
    "https://prod-12.westeurope.logic.azure.com:443/workflows/0a1b/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=abc"
)


def teams(**changes: Any) -> Teams:
    return Teams({"workflow_url": URL, "body_mode": "message"} | changes)


def card(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(teams().render(message).body)["attachments"][0]["content"]
    return found


def parts(message: Message) -> dict[str, Any]:
    return {part["id"]: part for part in card(message)["body"]}


@pytest.fixture
def service(make_peer: Callable[..., Any]) -> Service:
    found: Service = make_peer(HOST, Service)
    return found


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="all", ca_file=ca_file)


def send(way_out: Outbound, message: Message | None = None, **changes: Any) -> Receipt:
    channel = teams(**changes)
    return channel.send(channel.render(message or failure()), way_out, {})


def test_the_card_appears_in_the_channel(service: Service, way_out: Outbound) -> None:
    receipt = send(way_out)
    assert receipt.status == "202"
    assert receipt.words == "Accepted by Power Automate; look into the channel."
    assert len(service.cards) == 1
    assert service.failed_runs == []


def test_a_workflow_that_answers_itself_is_believed(service: Service, way_out: Outbound) -> None:
    service.answer(200, "done")
    assert send(way_out).words == "Microsoft Teams answered 200."


def test_the_url_keeps_every_part_of_its_query(service: Service, way_out: Outbound) -> None:
    send(way_out)
    assert service.last.path == f"{PATH}?{QUERY}{SIGNATURE}"


def test_a_workflow_of_ones_own_gets_the_bare_card(
    make_peer: Callable[..., Any], way_out: Outbound
) -> None:
    service: Service = make_peer(HOST, Service, bare=True)
    send(way_out)
    send(way_out, body_mode="card")
    assert service.failed_runs == ["InvalidBotAdaptiveCard: Property 'type' must be 'AdaptiveCard'"]
    assert len(service.cards) == 1


@pytest.mark.parametrize(
    ("severity", "style", "colour"),
    [
        (Severity.INFO, "emphasis", "Default"),
        (Severity.SUCCESS, "good", "Good"),
        (Severity.WARNING, "warning", "Warning"),
        (Severity.FAILURE, "attention", "Attention"),
        (Severity.CRITICAL, "attention", "Attention"),
    ],
)
def test_the_colour_says_how_bad_it_is(severity: Severity, style: str, colour: str) -> None:
    head = parts(failure(severity=severity))["head"]
    assert (head["style"], head["items"][0]["color"]) == (style, colour)


@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR, '"\\' * 9000, "\n" * 9000 + "x"])
@pytest.mark.parametrize("mode", ["message", "card"])
def test_every_card_is_valid_and_small_enough(value: str, mode: str) -> None:
    body = teams(body_mode=mode).render(hostile(value)).body
    assert len(body) <= 20_000
    assert problem_of(body, bare=mode == "card") == ""


def test_the_error_gives_way_first_and_says_so() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 900) for number in range(12))
    found = parts(failure(fields=facts, text="t" * 500, error="begin" + "e" * 9000 + "the end"))
    assert found["text"]["text"] == "t" * 500
    assert len(found["facts"]["facts"]) == 12
    assert "cut, 9012 characters" in found["error"]["text"]
    assert found["error"]["text"].endswith("the end")


def test_facts_that_find_no_room_are_counted() -> None:
    facts = tuple(Field(f"Fact {number}", "é" * 900) for number in range(40))
    *_, last = parts(failure(fields=facts))["facts"]["facts"]
    assert last["title"] == "More"
    assert last["value"].endswith("facts left out, see DBackup")


def test_line_breaks_are_those_of_cards() -> None:
    assert "lost\n\npg_dump" in parts(failure())["error"]["text"]


@pytest.mark.parametrize(
    "value",
    ["*b*", "_i_", "[x](http://e)", "- item", "1. item", "# head", "<at>Mara</at>", "{{DATE(x)}}"],
)
def test_formatting_of_foreign_text_is_shown_and_not_obeyed(value: str) -> None:
    message = failure(text=value)
    assert value not in texts(card(message))
    assert value in [words.replace("\u034f", "") for words in texts(card(message))]
    assert Teams.preview(teams().render(message).body.decode(), "").data["text"] == value


def test_names_with_underscores_stay_as_they_are() -> None:
    assert parts(failure(text="app_db of pg_dump"))["text"]["text"] == "app_db of pg_dump"


def test_a_link_without_a_public_host_is_said_in_the_text() -> None:
    message = failure(link="http://localhost:8000/runs/1")
    assert "actions" not in card(message)
    assert "localhost:8000/runs/1" in parts(message)["text"]["text"]


@pytest.mark.parametrize(
    ("status", "code", "breaks", "advice"),
    [
        (400, "MissingApiVersionParameter", True, "Copy the whole URL"),
        (401, "DirectApiAuthorizationRequired", True, "let Anyone trigger it"),
        (401, "AuthorizationFailed", True, "Copy the URL of the workflow again"),
        (403, "Whatever", True, "Copy the URL of the workflow again"),
        (404, "WorkflowNotFound", True, "Make the workflow anew"),
        (404, "WorkflowTriggerIsNotEnabled", True, "Switch the workflow on"),
        (400, "TriggerInputSchemaMismatch", True, "What the workflow expects"),
        (400, "InvalidRequestContent", False, "Check the trigger"),
        (413, "RequestEntityTooLarge", False, "full error"),
    ],
)
def test_refusals_for_good(
    service: Service, way_out: Outbound, status: int, code: str, breaks: bool, advice: str
) -> None:
    said = refused(status, code, "Some words of Power Automate.")
    service.answer(status, said.body)
    with pytest.raises(PermanentError) as caught:
        send(way_out)
    assert caught.value.breaks_channel is breaks
    assert advice in caught.value.advice
    assert str(status) in str(caught.value)


def test_a_lost_signature_is_a_refusal(service: Service, way_out: Outbound) -> None:
    with pytest.raises(PermanentError, match="401 / AuthorizationFailed") as caught:
        send(way_out, workflow_url=URL + "x")
    assert SIGNATURE not in str(caught.value) + caught.value.excerpt


@pytest.mark.parametrize("status", [408, 429])
def test_a_limit_says_when_to_come_back(service: Service, way_out: Outbound, status: int) -> None:
    service.answer(status, "slow down", retry_after=17)
    with pytest.raises(TransientError) as caught:
        send(way_out)
    assert caught.value.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_trouble_of_power_automate_passes(service: Service, way_out: Outbound, status: int) -> None:
    service.answer(status, "<html>trouble</html>")
    with pytest.raises(TransientError):
        send(way_out)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "Enter the URL of the workflow"),
        ("nonsense", "https://"),
        (URL.replace("https", "http", 1), "begins with https://"),
        ("https://acme.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d", "retired"),
        ("https://outlook.office.com/webhook/a@b/IncomingWebhook/c/d", "retired"),
        (URL.replace("/paths/invoke", "/runs"), "/paths/invoke"),
        (URL.partition("&sig")[0], "api-version and sig"),
        (URL.replace("api-version=1&", ""), "api-version and sig"),
    ],
)
def test_what_is_no_workflow_is_refused_when_it_is_entered(url: str, words: str) -> None:
    form = Teams.form(MultiDict({"workflow_url": url, "body_mode": "message"}))
    assert not form.validate()
    assert words in form.errors["workflow_url"][0]
    assert SIGNATURE not in str(form.errors)


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        (URL, ""),
        (OLD, "gives up addresses at logic.azure.com"),
        (OLD.replace("logic.azure.com", "logic.azure.us"), ""),
        (URL.replace(HOST, "flows.example.org"), "flows.example.org is no host of Microsoft"),
    ],
)
def test_other_hosts_are_accepted_with_a_warning(url: str, warning: str) -> None:
    entered = {"workflow_url": url, "body_mode": "message"}
    assert Teams.form(MultiDict(entered)).validate()
    field = Teams.form(stored=entered).workflow_url
    assert warning in field.warning
    assert bool(warning) == bool(field.warning)


def test_the_summary_shows_the_beginning_of_the_id_only() -> None:
    assert Teams.summarize({"workflow_url": URL}) == f"{HOST} …/0a1b…"
    assert Teams.summarize({"workflow_url": "file:/run/flow"}) == "file:/run/flow"


def test_the_bucket_belongs_to_the_workflow() -> None:
    assert teams().target == teams(workflow_url=URL + "changed").target
    assert teams().target != teams(workflow_url=OLD).target
