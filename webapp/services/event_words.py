"""Where an event would go at this moment, in one plain sentence."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Protocol

from webapp.core import text
from webapp.models.routing import NotifyUser

OFF: Final = "Off: nobody would be told."
NO_CHANNELS: Final = "Nobody would be told: no channel is selected."
NO_DIRECT: Final = "no Email channel works, so the person concerned gets no direct mail"


class Choice(Protocol):
    """What a sentence needs of a channel."""

    @property
    def name(self) -> str:
        """What the admin calls it."""

    @property
    def on(self) -> bool:
        """Whether it is switched on."""

    @property
    def broken(self) -> bool:
        """Whether an error about the channel itself stands."""

    @property
    def fallback(self) -> str:
        """The channel that would take over now, if one would."""

    @property
    def fallback_rest(self) -> timedelta | None:
        """For how much longer the service of that channel wants nothing, if it said so."""

    @property
    def people(self) -> str:
        """Whom it writes to, or nothing."""

    @property
    def rest(self) -> timedelta | None:
        """For how much longer its service wants nothing, if it said so."""


def goes_to(channels: Sequence[Choice], mode: NotifyUser | None, direct: Choice | None) -> str:
    """Say who would hear of an event that is on, through what, and why the others would not.

    `mode` is None when direct mail is not offered; `direct` is the channel that would carry it.
    """
    if not channels:
        return NO_CHANNELS
    if mode is NotifyUser.USER_ONLY and direct is not None:
        when = "now only" if direct.rest is None else f"in {text.duration(direct.rest)}, and only"
        return f"Would go {when} to the person concerned, as direct mail through {direct.name}."
    parts = [_main(channels, mode, direct)]
    parts += [_out(channel) for channel in channels if not _goes_now(channel)]
    if mode is NotifyUser.ADMIN_AND_USER and direct is not None and direct.rest is not None:
        wait = text.duration(direct.rest)
        parts.append(f"the direct mail to the person concerned goes in {wait}")
    if mode not in {None, NotifyUser.DISABLED} and direct is None:
        parts.append(NO_DIRECT)
    return "; ".join(parts) + "."


def _main(channels: Sequence[Choice], mode: NotifyUser | None, direct: Choice | None) -> str:
    names = [_with_people(channel) for channel in channels if _goes_now(channel)]
    if mode is NotifyUser.ADMIN_AND_USER and direct is not None and direct.rest is None:
        names.append(f"the person concerned (direct mail through {direct.name})")
    return f"Would go now to {text.listed(names)}" if names else "Would reach nobody directly now"


def _goes_now(channel: Choice) -> bool:
    return channel.on and not channel.broken and channel.rest is None


def _with_people(channel: Choice) -> str:
    return f"{channel.name} ({channel.people})" if channel.people else channel.name


def _out(channel: Choice) -> str:
    if not channel.on:
        return f"{channel.name} is off"
    if channel.fallback:
        rests = "" if channel.rest is None else f" rests for {text.duration(channel.rest)}"
        why = " is broken" if channel.broken else rests
        when = "" if channel.fallback_rest is None else f" {_after(channel.fallback_rest)}"
        return f"{channel.name}{why}, so {channel.fallback} takes over{when}"
    if not channel.broken and channel.rest is not None:
        return f"{_with_people(channel)} gets it {_after(channel.rest)}"
    return f"{channel.name} is broken, so its messages wait until it is mended"


def _after(rest: timedelta) -> str:
    return f"in {text.duration(rest)}, since its service asked for a pause"
