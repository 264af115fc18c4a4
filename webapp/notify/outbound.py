"""The only way out for channels: address policy, time limits, no redirects, no environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from webapp.core.settings import PrivateNetworks


class Reach(StrEnum):
    """Whether a service is somebody's own server (private addresses are normal) or hosted."""

    SELF_HOSTED = "self-hosted"
    HOSTED = "hosted"


@dataclass(frozen=True)
class Answer:
    """What a server answered over HTTP; `body` holds its first 64 KB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """Makes calls within limits: 5 s to connect, 15 s between bytes, 30 s in all."""

    def __init__(self, *, allow_private_networks: PrivateNetworks, ca_file: Path | None) -> None:
        self._allow_private_networks = allow_private_networks
        self._ca_file = ca_file

    def request(
        self,
        method: str,
        url: str,
        *,
        reach: Reach,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        """Call and return the answer, whatever its status (a redirect is an answer, too).

        Raises:
            PermanentError: the address may not be called, or is no address.
            TransientError: no connection, no answer in time, a certificate that does not verify.
        """
        raise NotImplementedError
