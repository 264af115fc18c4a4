"""A peer that takes text messages as Twilio does, magic numbers of its test accounts included."""

import base64
import json
import re
from collections import Counter
from typing import Any, Final
from urllib.parse import parse_qs

from tests.servers.http import Peer, Received, Reply

ACCOUNT: Final = "AC" + "0123456789abcdef" * 2
TOKEN: Final = "fedcba9876543210" * 2
KEY: Final = "SK" + "00112233445566778899aabbccddeeff"
KEY_SECRET: Final = "KeySecretKeySecretKeySecretKeySe"
OK: Final = "+15005550006"
_FROM: Final = {
    "+15005550001": (21212, "The 'From' number +15005550001 is not a valid phone number."),
    "+15005550007": (21606, "The From phone number is not a valid, SMS-capable phone number."),
    "+15005550008": (21611, "This From number has exceeded the maximum number of queued messages."),
}
_TO: Final = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: +1500555XXXX"),
    "+15005550002": (21612, "Message cannot be sent with the current combination of To and From."),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region."),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
_PARAMETERS: Final = frozenset(
    {"To", "From", "MessagingServiceSid", "Body", "ValidityPeriod", "SmartEncoded"}
)


class Twilio(Peer):
    """The service. `billed` holds every message that it sent, copies too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.billed: list[dict[str, str]] = []
        self.copies: Counter[tuple[str, str]] = Counter()

    def respond(self, received: Received) -> Reply:
        if not received.path.startswith(f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"):
            return error(404, 20404, "The requested resource was not found")
        if received.method != "POST":
            return error(405, 20004, "Method not allowed")
        if not _is_signed_in(received.headers.get("authorization", "")):
            return error(401, 20003, "Authenticate")
        form = {
            name: values[0]
            for name, values in parse_qs(
                received.body.decode("ascii"), keep_blank_values=True, strict_parsing=True
            ).items()
        }
        return self._refusal(received, form) or self._bill(form)

    def _refusal(self, received: Received, form: dict[str, str]) -> Reply | None:
        assert received.headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert set(form) <= _PARAMETERS
        assert 1 <= int(form.get("ValidityPeriod", "36000")) <= 36000
        if form.get("From") in _FROM:
            return error(400, *_FROM[form["From"]])
        if form.get("To") in _TO:
            return error(400, *_TO[form["To"]])
        if not re.fullmatch(r"\+[1-9]\d{1,14}", form.get("To", "")):
            return error(400, 21211, f"Invalid 'To' Phone Number: {form.get('To', '')}")
        service = form.get("MessagingServiceSid", "")
        if not form.get("From") and not re.fullmatch(r"MG[0-9a-fA-F]{32}", service):
            return error(400, 21603, "A 'From' phone number is required.")
        if not form.get("Body", "").strip():
            return error(400, 21602, "Message body is required.")
        if len(form["Body"]) > 1600:
            return error(
                400, 21617, "The concatenated message body exceeds the 1600 character limit"
            )
        return None

    def _bill(self, form: dict[str, str]) -> Reply:
        self.billed.append(form)
        self.copies[form["To"], form["Body"]] += 1
        return _json(
            201,
            {
                "sid": f"SM{len(self.billed):032x}",
                "account_sid": ACCOUNT,
                "status": "queued",
                "to": form["To"],
                "from": form.get("From"),
                "messaging_service_sid": form.get("MessagingServiceSid"),
                "body": form["Body"],
                "num_segments": "1",
                "error_code": None,
                "error_message": None,
            },
        )


def _is_signed_in(header: str) -> bool:
    return header in {
        "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        for user, secret in ((ACCOUNT, TOKEN), (KEY, KEY_SECRET))
    }


def error(status: int, code: int, message: str) -> Reply:
    """Return one of Twilio's errors."""
    return _json(
        status,
        {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        },
    )


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(
        status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
