"""What uses a channel: system events, jobs, and the global selection."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.models.job import Job
from webapp.models.routing import JobChannel
from webapp.services import notification_settings
from webapp.services.notification_settings import EventSetup, Setup
from webapp.services.transaction import reading


@dataclass(frozen=True)
class JobUse:
    """A job that tells a channel."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Everything that uses one channel."""

    events: tuple[EventSetup, ...] = ()
    """System events whose selection holds it, those that are off included."""
    jobs: tuple[JobUse, ...] = ()
    is_global: bool = False

    @property
    def events_on(self) -> int:
        """The number of those events that are on."""
        return sum(event.enabled for event in self.events)

    @property
    def in_use(self) -> bool:
        """Say whether anything would change if the channel went away."""
        return self.is_global or bool(self.events) or bool(self.jobs)

    def lost_by(self, channel_id: int) -> tuple[EventSetup, ...]:
        """Return the events that are on and told nobody if this channel went away."""
        return tuple(
            event
            for event in self.events
            if event.enabled
            and not any(other.on for other in event.channels if other.id != channel_id)
        )


def all_uses() -> dict[int, Usage]:
    """Return what uses each channel."""
    setup = notification_settings.overview()
    with reading() as session:
        jobs = _jobs(session)
    return {
        channel.id: _usage(setup, jobs.get(channel.id, ()), channel.id)
        for channel in setup.channels
    }


def uses_of(channel_id: int) -> Usage:
    """Return what uses one channel; nothing uses one that is not there."""
    return all_uses().get(channel_id, Usage())


def silent_events(channel_id: int) -> tuple[EventSetup, ...]:
    """Return the events with this channel that are on and tell nobody as things are now."""
    return tuple(event for event in uses_of(channel_id).events if event.tells_nobody)


def _usage(setup: Setup, jobs: tuple[JobUse, ...], channel_id: int) -> Usage:
    return Usage(
        events=tuple(event for event in setup.events if channel_id in event.ids),
        jobs=jobs,
        is_global=channel_id in setup.global_ids,
    )


def _jobs(session: Session) -> dict[int, tuple[JobUse, ...]]:
    rows = session.execute(
        select(JobChannel.channel_id, Job.id, Job.name)
        .join(Job, Job.id == JobChannel.job_id)
        .distinct()
        .order_by(Job.name)
    )
    found: dict[int, tuple[JobUse, ...]] = {}
    for channel_id, job_id, name in rows:
        found[channel_id] = (*found.get(channel_id, ()), JobUse(job_id, name))
    return found
