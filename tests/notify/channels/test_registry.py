"""What every channel type promises, held against every event and every hostile value."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from werkzeug.datastructures import MultiDict

from tests.conftest import make_settings
from tests.notify.samples import HOSTILE, LONG_ERROR, failure, hostile, message_of
from tests.servers.http import Peer
from tests.servers.names import Names
from webapp.app import create_app
from webapp.core.errors import ChannelError
from webapp.core.secrets import mask
from webapp.core.settings import PROJECT_ROOT
from webapp.notify import channels as registry
from webapp.notify.channels import BY_TYPE, CHANNELS, http
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered
from webapp.notify.channels.fields import ChannelForm, SecretField
from webapp.notify.events import EVENTS, Event
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound, Reach

TOKEN = "S3cretT0ken" * 5
ENTERED: Mapping[str, Mapping[str, str]] = {
    "discord": {
        "webhook_url": f"https://discord.com/api/webhooks/117400000000000001/{TOKEN}",
        "mention_roles": "123456789012345678",
    },
    "slack": {
        "webhook_url": f"https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/{TOKEN}",
        "mentions": "here U0AAAAAAA",
    },
    "teams": {
        "workflow_url": "https://default0123.4f.environment.api.powerplatform.com/powerautomate/"
        "automations/direct/workflows/0a1b2c/triggers/manual/paths/invoke"
        f"?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={TOKEN}",
        "body_mode": "message",
    },
    "telegram": {
        "bot_token": f"123456789:{TOKEN}",
        "chat_id": "-1001234567890",
        "sound": "auto",
        "api_url": "https://api.telegram.org",
    },
    "webhook": {
        "url": f"https://hooks.example.org/in/{TOKEN}",
        "method": "POST",
        "content_type": "application/json",
        "headers": f"Authorization: Bearer {TOKEN}",
        "signing_secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    },
    "gotify": {"server_url": "https://gotify.example.org/push", "token": TOKEN},
    "ntfy": {
        "server_url": "https://push.example.org",
        "topic": "dbackup-q7Xk2P9vLm3RtY8aQwEr",
        "username": "dbackup",
        "password": TOKEN,
        "click": "y",
    },
    "sms": {
        "account_sid": "AC" + "0123456789abcdef" * 2,
        "auth_token": TOKEN,
        "sender": "+15005550006",
        "recipients": "+15551234567",
        "max_segments": "10",
    },
    "apprise": {"url": f"mmosts://chat.example.org/{TOKEN}"},
    "email": {
        "host": "smtp.example.org",
        "port": "587",
        "security": "starttls",
        "username": "dbackup",
        "password": TOKEN,
        "sender": "dbackup@example.org",
        "recipients": "ops@example.org",
    },
}
"""What an admin might enter; a new type adds itself here."""
HELPERS = {"__init__", "base", "fields", "http"}

Draw = Callable[[Preview], str]

every_type = pytest.mark.parametrize("kind", CHANNELS, ids=lambda kind: kind.type)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """Draw a preview with the templates and filters of the product."""
    pages = create_app(make_settings(tmp_path_factory.mktemp("instance"))).jinja_env

    def draw(preview: Preview) -> str:
        template = pages.get_template(f"notifications/previews/_{preview.look}.html")
        return template.render(data=preview.data)

    return draw


def config_of(kind: type[Channel]) -> dict[str, Any]:
    form = kind.form(MultiDict(ENTERED[kind.type]))
    assert form.validate(), form.errors
    return form.merged({})


def test_every_file_is_registered_and_every_id_is_one() -> None:
    folder = Path(registry.__path__[0])
    assert {kind.type for kind in CHANNELS} == {f.stem for f in folder.glob("*.py")} - HELPERS
    assert [kind.__module__.rpartition(".")[2] for kind in CHANNELS] == [k.type for k in CHANNELS]
    assert set(ENTERED) == set(BY_TYPE)


@every_type
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_every_event_is_rendered_and_shown(
    kind: type[Channel], event: type[Event], drawn: Draw
) -> None:
    message = message_of(event)
    rendered = kind(config_of(kind)).render(message)
    preview = kind.preview(rendered.body.decode(), rendered.content_type)
    html = drawn(preview)
    assert message.title in html.replace("&#39;", "'").replace("&#34;", '"')
    assert TOKEN not in html


@every_type
@pytest.mark.parametrize("value", [*HOSTILE, LONG_ERROR])
def test_hostile_values_are_rendered_and_drawn(
    kind: type[Channel], value: str, drawn: Draw
) -> None:
    rendered = kind(config_of(kind)).render(hostile(value))
    html = drawn(kind.preview(rendered.body.decode(), rendered.content_type))
    assert "<b>&" not in html
    assert "\x00" not in html


@every_type
def test_a_masked_body_can_still_be_shown(kind: type[Channel], drawn: Draw) -> None:
    channel = kind(config_of(kind))
    rendered = channel.render(failure(error=f"key {TOKEN} is wrong"))
    masked = mask(rendered.body.decode(), channel.secrets)
    assert TOKEN not in masked
    assert "***" in drawn(kind.preview(masked, rendered.content_type))


@every_type
def test_secrets_are_known_and_never_summarized(kind: type[Channel]) -> None:
    config = config_of(kind)
    channel = kind(config)
    for name in kind.form.secret_fields():
        if config[name]:
            assert TOKEN[:20] not in mask(str(config[name]), channel.secrets)
    assert TOKEN not in kind.summarize(config)
    assert kind.summarize(config)
    assert channel.target


@every_type
def test_no_form_ever_shows_a_secret(kind: type[Channel]) -> None:
    stored = config_of(kind)
    form = kind.form(MultiDict(ENTERED[kind.type]), data=kind.form.shown(stored), stored=stored)
    form.validate()
    page = "".join(str(field()) for field in form)
    assert TOKEN not in page
    assert TOKEN not in str(kind.form.shown(stored))
    assert all(TOKEN not in field.hint for field in form if isinstance(field, SecretField))


@every_type
def test_what_is_left_blank_keeps_the_stored_secret(kind: type[Channel]) -> None:
    stored = config_of(kind)
    typed = {k: v for k, v in ENTERED[kind.type].items() if k not in kind.form.secret_fields()}
    form = kind.form(MultiDict(typed), data=kind.form.shown(stored), stored=stored)
    assert form.validate(), form.errors
    assert form.merged(stored) == stored


@every_type
def test_what_is_left_blank_goes_to_no_other_server(kind: type[Channel]) -> None:
    hidden = kind.form.secret_fields()
    for name in kind.form.bound_to:
        stored = config_of(kind) | {secret: "env:A_SECRET" for secret in hidden if secret != name}
        typed = {k: v for k, v in ENTERED[kind.type].items() if k not in hidden}
        elsewhere = "2525" if name == "port" else "https://evil.example/x"
        elsewhere = "evil.example" if name == "host" else elsewhere
        elsewhere = __file__ if name == "ca_file" else elsewhere
        elsewhere = "http://evil.example:3128" if name == "proxy" else elsewhere
        form = kind.form(
            MultiDict(typed | {name: elsewhere}), data=kind.form.shown(stored), stored=stored
        )
        assert not form.validate()
        stays = {name, *kind.form.stays_here}
        expected = {secret for secret in hidden if secret not in stays}
        asked = {field for field, errors in form.errors.items() if "again" in str(errors)}
        assert asked == expected
        anew = kind.form(MultiDict(typed | {name: elsewhere}), stored=stored, fresh=expected)
        anew.validate()
        assert "again" not in str(anew.errors)


def test_every_type_with_a_server_of_ones_own_binds_its_secrets() -> None:
    bound = {kind.type for kind in CHANNELS if kind.form.bound_to}
    assert bound == {"apprise", "email", "gotify", "ntfy", "telegram", "webhook"}


@pytest.mark.parametrize(
    ("security", "asks"), [("none", True), ("tls", False), ("starttls", False)]
)
def test_a_stored_password_goes_no_less_protected_than_before(security: str, *, asks: bool) -> None:
    kind = BY_TYPE["email"]
    typed = {**ENTERED["email"], "security": security, "password": "", "plain_login": "y"}
    form = kind.form(MultiDict(typed), stored=config_of(kind))
    form.validate()
    assert ("again" in str(form.errors.get("password"))) is asks


@every_type
def test_a_configuration_is_plain_json(kind: type[Channel]) -> None:
    config = config_of(kind)
    assert json.loads(json.dumps(config)) == config


@every_type
def test_references_are_accepted_and_replaced(
    kind: type[Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(kind)
    for name in ("webhook_url", "workflow_url", "bot_token", "password", "signing_secret"):
        if name in kind.form.secret_fields():
            monkeypatch.setenv("A_SECRET", config[name])
            form = kind.form(MultiDict({**ENTERED[kind.type], name: "env:A_SECRET"}))
            assert form.validate(), form.errors
            assert form.merged({})[name] == "env:A_SECRET"
            assert kind.form.resolved(form.merged({})) == config


@every_type
def test_an_unknown_host_is_told_without_secrets(kind: type[Channel], names: Names) -> None:
    channel = kind(config_of(kind))
    way_out = Outbound(allow_private_networks="all", ca_file=None)
    with pytest.raises(ChannelError, match="Unknown host") as caught:
        channel.send(channel.render(failure()), way_out, {})
    assert caught.value.advice
    assert TOKEN not in str(caught.value)


@every_type
def test_what_a_person_needs_is_there(kind: type[Channel]) -> None:
    for word in (kind.label, kind.icon, kind.tagline, kind.setup_hint):
        assert word
    form = kind.form()
    for name in kind.form.advanced:
        assert name in form
    for field in form:
        assert field.label.text[0].isupper()
    assert (PROJECT_ROOT / "templates/notifications/previews").is_dir()
    assert f".ct-{kind.type}" in (PROJECT_ROOT / "static/app.css").read_text()


@every_type
def test_the_documentation_holds_every_trouble_and_every_field(kind: type[Channel]) -> None:
    page = (PROJECT_ROOT / f"docs/channels/{kind.type}.md").read_text()
    table = [line for line in page.split("## Troubleshooting")[1].splitlines() if "|" in line]
    assert table[2:] == [f"| {row.sign} | {row.meaning} | {row.advice} |" for row in kind.troubles]
    assert [
        field.label.text for field in kind.form() if f"| {field.label.text} |" not in page
    ] == []
    index = (PROJECT_ROOT / "docs/channels/README.md").read_text()
    assert f"| {kind.label} | [{kind.type}.md]({kind.type}.md) |" in index


def test_a_type_is_one_file_and_one_line(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a type must say of itself is all that the rest needs to use it."""
    monkeypatch.setitem(BY_TYPE, Toy.type, Toy)
    kind = BY_TYPE["toy"]
    form = kind.form(MultiDict({"address": f"{peer.url}/{TOKEN}"}))
    assert form.validate(), form.errors
    channel = kind(form.merged({}))
    rendered = channel.render(failure())
    receipt = channel.send(rendered, Outbound(allow_private_networks="all", ca_file=None), {})
    assert receipt.words == "Toy answered 200."
    assert peer.last.body == b"Backup failed: nightly-orders"
    assert kind.preview(rendered.body.decode(), "text/plain").look == "webhook"


class ToyForm(ChannelForm):
    address = SecretField("Address", required=True)


class Toy(Channel):
    type: ClassVar[str] = "toy"
    label: ClassVar[str] = "Toy"
    form: ClassVar = ToyForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        return "toy"

    @property
    def target(self) -> str:
        return "toy"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (str(self.config["address"]),)

    def render(self, message: Message) -> Rendered:
        return Rendered(
            body=message.title.encode(), content_type="text/plain", url=self.config["address"]
        )

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        return http.deliver_http(
            rendered,
            outbound,
            service=self.label,
            reach=Reach.SELF_HOSTED,
            secrets=self.secrets,
            troubles=(),
        )

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        return Preview(look="webhook", data={"body": body, "content_type": content_type})
