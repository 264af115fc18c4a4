"""A small OpenID provider: real HTTP, RS256 tokens, PKCE, and every manner of a bad one."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "dbackup"
CLIENT_SECRET = "provider-secret-5d1c"
ANOTHER_KEY = RSAKey.generate_key(2048, {"kid": "one"})


class Provider:
    """Signs in whoever `person` is; `changes` overrides claims of the token (None removes one)."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.person: dict[str, Any] = {
            "sub": "subject-1",
            "email": "mara@example.org",
            "email_verified": True,
            "name": "Mara at the provider",
        }
        self.changes: dict[str, Any] = {}
        self.sign_with: RSAKey = self.key
        self.spoil: Callable[[dict[str, Any], dict[str, Any]], None] = lambda _answer, _claims: None
        """Called with the answer that holds the token, and its claims, before it is sent."""
        self.document: dict[str, Any] = {}
        """Overrides what /.well-known/openid-configuration says."""
        self.answer_instead: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Answers a GET in place of the provider."""
        self.asked: list[dict[str, str]] = []
        """The parameters of each visit to /authorize."""
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def authorize(self, location: str) -> str:
        """Act as the browser at the provider: return the callback that it is sent to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        self.asked.append(asked)
        code = secrets.token_urlsafe(12)
        self._codes[code] = asked
        query = urlencode({"code": code, "state": asked["state"]})
        return f"{urlsplit(asked['redirect_uri']).path}?{query}"

    def _token(self, form: Mapping[str, str], basic: str) -> dict[str, Any] | None:
        asked = self._codes.pop(form.get("code", ""), None)
        given = base64.b64decode(basic.removeprefix("Basic ") or b"").decode()
        if asked is None or given != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": asked["nonce"],
            **self.person,
            **self.changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.sign_with)
        answer = {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": token}
        self.spoil(answer, claims)
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if provider.answer_instead:
                    provider.answer_instead(self)
                elif self.path == "/.well-known/openid-configuration":
                    issuer = provider.issuer
                    self._answer(
                        {
                            "issuer": issuer,
                            "authorization_endpoint": f"{issuer}/authorize",
                            "token_endpoint": f"{issuer}/token",
                            "jwks_uri": f"{issuer}/jwks",
                            "id_token_signing_alg_values_supported": ["RS256"],
                            **provider.document,
                        }
                    )
                elif self.path == "/jwks":
                    self._answer({"keys": [provider.key.as_dict(private=False)]})
                else:
                    self._answer({}, 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                token = provider._token(form, self.headers.get("Authorization", ""))
                self._answer(token or {"error": "invalid_grant"}, 200 if token else 400)

            def _answer(self, content: Mapping[str, Any], status: int = 200) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None: ...

        return Handler
