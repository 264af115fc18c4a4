"""Whether what the server stands on is there."""

from sqlalchemy import select

from webapp.services.transaction import reading


def ask_database() -> None:
    """Ask the database the smallest question.

    Raises:
        SQLAlchemyError: it does not answer.
    """
    with reading() as session:
        session.scalar(select(1))
