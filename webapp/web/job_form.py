"""The form of one job."""

from typing import Any

from wtforms import (
    BooleanField,
    HiddenField,
    PasswordField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from webapp.core import text
from webapp.core.form_fields import NumberField, whole
from webapp.models.job import DEFAULT_PATTERN
from webapp.services import preferences
from webapp.services.jobs import NAME_LIMIT, Choices, JobItem, Values
from webapp.web.form import Form, tidy, zone_choices
from webapp.web.numbers import number


class JobForm(Form):
    """Name, source, destinations, schedule, and what is kept."""

    name = StringField(
        "Name",
        filters=[lambda typed: text.one_line(typed or "")],
        validators=[
            DataRequired("Enter a name, for example “Shop nightly”."),
            Length(max=NAME_LIMIT, message=f"Use at most {NAME_LIMIT} characters."),
        ],
    )
    source_id = SelectField("Source", coerce=whole, validate_choice=False)
    compression = RadioField(
        "Compression",
        choices={
            "zstd": "zstd, small files and fast",
            "gzip": "gzip, opens everywhere",
            "none": "None, when the destination does it",
        },
        default="zstd",
    )
    encryption = RadioField(
        "Encryption",
        choices={
            "none": "Off",
            "passphrase": "With a passphrase",
            "recipients": "For public keys (age or SSH)",
        },
        default="none",
    )
    passphrase = PasswordField(
        "Passphrase",
        description="At least 12 characters. It is not kept here: write it down, because without "
        "it these backups cannot be restored.",
    )
    passphrase_again = PasswordField("Repeat the passphrase")
    recipients = TextAreaField(
        "Public keys",
        filters=[tidy],
        description="One a line: age1…, ssh-ed25519 … or ssh-rsa …. Whoever has one of the "
        "private keys can restore.",
    )
    destination_ids = SelectMultipleField(
        "Destinations",
        coerce=whole,
        validate_choice=False,
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )
    keep_last = NumberField(
        "Keep the last",
        description="Older backups of this job are deleted after each good one, at each "
        "destination that has no rules of its own (Retention). Empty keeps all of them.",
        validators=[
            Optional(),
            NumberRange(1, 10_000, "Enter a number from 1 to 10000, or leave it empty."),
        ],
    )
    name_pattern = StringField(
        "Names of the backups",
        filters=[tidy],
        default=DEFAULT_PATTERN,
        description="Of {job}, {source}, {database}, {date}, {time} and plain characters. The "
        "number of the run is added, and of several databases each name, so none comes twice.",
        validators=[Length(max=100, message="Use at most 100 characters.")],
    )
    time_limit = NumberField(
        "Time limit in minutes",
        description="An attempt that takes longer is stopped and counts as failed. Empty means no "
        "limit.",
        validators=[
            Optional(),
            NumberRange(1, 10_080, "Enter minutes from 1 to 10080, or leave it empty."),
        ],
    )
    retries = NumberField(
        "Tries after a failure",
        default=0,
        description="Only when the last one fails, too, the failure is announced.",
        validators=[Optional(), NumberRange(0, 10, "Enter a number from 0 to 10.")],
    )
    retry_pause = NumberField(
        "Minutes between tries",
        default=5,
        validators=[Optional(), NumberRange(1, 1440, "Enter minutes from 1 to 1440.")],
    )
    prove_every = SelectField(
        "Restore on trial",
        choices={"": "Only by hand", "weekly": "Every week", "monthly": "Every month"},
        default="",
        description="The newest backup is restored into a scratch database, its rows are counted, "
        "and the scratch database is dropped.",
    )
    schedule = StringField(
        "Schedule",
        filters=[tidy],
        description="Five fields as in cron: minute, hour, day of the month, month, weekday. "
        "Empty means by hand only.",
        validators=[Length(max=100, message="Use at most 100 characters.")],
    )
    timezone = SelectField("Time zone", description="The schedule follows its clock changes.")
    enabled = BooleanField("Start it by the schedule", default=True)
    version = HiddenField()

    def validate_passphrase_again(self, field: PasswordField) -> None:
        """A passphrase with a slip of the finger would lose every backup."""
        if self.encryption.data == "passphrase" and (field.data or "") != (
            self.passphrase.data or ""
        ):
            raise ValidationError("The two passphrases differ. Enter the same one twice.")

    def offer(self, choices: Choices) -> None:
        """Fill in what can be chosen."""
        self.source_id.choices = {str(row.id): row.name for row in choices.sources}
        self.destination_ids.choices = {str(row.id): row.name for row in choices.destinations}
        zone = self.timezone.data or ""
        known = zone_choices()
        self.timezone.choices = known if zone in known else {zone: zone, **known}

    def values(self) -> Values:
        """Return what to store."""
        return Values(
            name=self.name.data or "",
            source_id=self.source_id.data or 0,
            destination_ids=self.destination_ids.data or (),
            schedule=self.schedule.data or "",
            timezone=self.timezone.data or "",
            compression=self.compression.data or "",
            encryption=self.encryption.data or "",
            recipients=self.recipients.data or "",
            passphrase=self.passphrase.data or "",
            keep_last=self.keep_last.data,
            name_pattern=self.name_pattern.data or DEFAULT_PATTERN,
            time_limit=self.time_limit.data,
            retries=self.retries.data or 0,
            retry_pause=self.retry_pause.data or 5,
            prove_every=self.prove_every.data or "",
            enabled=bool(self.enabled.data),
        )

    @property
    def stated_version(self) -> int:
        """Return the version that the form showed."""
        return number(str(self.version.data or ""))


def new_form(choices: Choices) -> JobForm:
    """Return the form of a new job, sent or not."""
    form = JobForm(timezone=preferences.current().timezone)
    form.offer(choices)
    return form


def form_of(item: JobItem, choices: Choices) -> JobForm:
    """Return the form of a stored job, sent or not."""
    row = item.row
    values: dict[str, Any] = {
        "name": row.name,
        "source_id": row.source_id,
        "compression": row.compression,
        "encryption": row.encryption,
        "recipients": row.recipients if row.encryption == "recipients" else "",
        "destination_ids": [place.id for place in item.destinations],
        "keep_last": row.keep_last,
        "name_pattern": row.name_pattern,
        "time_limit": row.time_limit,
        "retries": row.retries,
        "retry_pause": row.retry_pause,
        "prove_every": row.prove_every,
        "schedule": row.schedule or "",
        "timezone": row.timezone,
        "enabled": row.enabled,
        "version": str(row.version),
    }
    form = JobForm(data=values)
    if row.encryption == "passphrase":
        form.passphrase.label.text = "New passphrase"
        form.passphrase.description = (
            "Empty keeps the present one. A new one is for the backups from then on; older ones "
            "still need the one they were made with."
        )
    form.offer(choices)
    return form
