"""Errors that the product raises on purpose. None of them knows HTTP status codes of our pages."""

from datetime import timedelta


class AppError(Exception):
    """Something went wrong that a person can understand; the text says what to do."""


class NotFoundError(AppError):
    """It is not here: it was deleted, or it never existed."""


class ConflictError(AppError):
    """Somebody changed this in the meantime, or it is in use."""


class InvalidError(AppError):
    """The input cannot be used as it is."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class TooManyError(AppError):
    """It was tried too often; `wait` is how long the next try has to wait."""

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait

    @property
    def retry_after(self) -> int:
        """Return the wait in whole seconds, for a header."""
        return int(self.wait.total_seconds()) + 1


class SecretError(AppError):
    """A sealed or referenced secret cannot be opened."""


class ChannelError(AppError):
    """A message did not get through a channel.

    `status` is the service's own code ("404", "535 5.7.8"), `excerpt` its words (masked by the
    caller before they are stored), `advice` what the admin should do about this very error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: str | None = None,
        excerpt: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.excerpt = excerpt
        self.advice = advice


class PermanentError(ChannelError):
    """Trying again cannot help: bad token, unknown chat, most 4xx.

    `breaks_channel` is true when the error is about the channel and not about this one message:
    every further message would meet the same answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: str | None = None,
        excerpt: str = "",
        advice: str = "",
        breaks_channel: bool = False,
    ) -> None:
        super().__init__(message, status=status, excerpt=excerpt, advice=advice)
        self.breaks_channel = breaks_channel


class TransientError(ChannelError):
    """Trying again may help: no answer, 429, 5xx.

    `retry_after` is the service's own hint; `needs_you` marks errors that seldom heal alone
    (certificate, unknown host); `maybe_sent` is true when the message may have arrived although
    no answer came.
    """

    def __init__(
        self,
        message: str,
        *,
        status: str | None = None,
        excerpt: str = "",
        advice: str = "",
        retry_after: timedelta | None = None,
        needs_you: bool = False,
        maybe_sent: bool = False,
    ) -> None:
        super().__init__(message, status=status, excerpt=excerpt, advice=advice)
        self.retry_after = retry_after
        self.needs_you = needs_you
        self.maybe_sent = maybe_sent
