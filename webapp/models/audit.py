"""The audit log: who changed what, when and from where. The database itself refuses changes."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import DDL, JSON, Connection, Index, String, event, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core import clock
from webapp.models.base import Base

SHORTEST_RETENTION: Final = 30  # days; younger entries cannot be deleted


class AuditEntry(Base):
    """One thing that was done. Nothing refers to it and it refers to nothing: it outlives all."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_at", "at"),
        Index("ix_audit_entry_user_name_id", "user_name", "id"),
        Index("ix_audit_entry_action_id", "action", "id"),
        {"sqlite_autoincrement": True},  # a number is never given twice
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=clock.now)
    user_id: Mapped[int | None]
    """None: nobody was signed in, the command line, or DBackup itself."""
    user_name: Mapped[str] = mapped_column(String(120), default="")
    ip_address: Mapped[str] = mapped_column(String(60), default="")
    action: Mapped[str] = mapped_column(String(60))
    object: Mapped[str] = mapped_column(String(300), default="")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


GUARDS: Final = {
    "sqlite": (
        (
            "CREATE TRIGGER IF NOT EXISTS audit_entry_is_final BEFORE UPDATE ON audit_entry "
            "BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END"
        ),
        (
            "CREATE TRIGGER IF NOT EXISTS audit_entry_stays BEFORE DELETE ON audit_entry "
            f"WHEN OLD.at > datetime('now', '-{SHORTEST_RETENTION} days') "
            "BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END"
        ),
        (  # INSERT OR REPLACE deletes without asking the trigger above
            "CREATE TRIGGER IF NOT EXISTS audit_entry_is_new BEFORE INSERT ON audit_entry "
            "WHEN EXISTS (SELECT 1 FROM audit_entry WHERE id = NEW.id) "
            "BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE OR REPLACE FUNCTION audit_entry_guard() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN IF TG_OP = 'DELETE' AND OLD.at <= (now() AT TIME ZONE 'UTC') "
            f"- interval '{SHORTEST_RETENTION} days' THEN RETURN OLD; END IF; "
            "RAISE EXCEPTION 'the audit log cannot be changed'; END $$"
        ),
        "DROP TRIGGER IF EXISTS audit_entry_is_final ON audit_entry",
        (
            "CREATE TRIGGER audit_entry_is_final BEFORE UPDATE OR DELETE ON audit_entry "
            "FOR EACH ROW EXECUTE FUNCTION audit_entry_guard()"
        ),
        "DROP TRIGGER IF EXISTS audit_entry_is_kept ON audit_entry",
        (
            "CREATE TRIGGER audit_entry_is_kept BEFORE TRUNCATE ON audit_entry "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_guard()"
        ),
        # others keep quiet once session_replication_role is "replica"
        "ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_is_final",
        "ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_is_kept",
    ),
}
"""What makes the table append-only, by database. Each may be run again."""


def guard(connection: Connection) -> None:
    """Make the database refuse changes; called after migrations, which may rebuild the table."""
    for statement in GUARDS[connection.dialect.name]:
        connection.execute(text(statement))


for _dialect, _statements in GUARDS.items():
    for _statement in _statements:
        event.listen(
            AuditEntry.__table__,
            "after_create",
            DDL(_statement.replace("%", "%%")).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]
        )
