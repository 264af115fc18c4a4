"""What PostgreSQL and its programs complain about, and what to do."""

import re
from collections.abc import Mapping
from typing import Any, Final

# sign in the text (lower case) -> words; the first that fits counts
_WORDS: Final[tuple[tuple[str, str], ...]] = (
    (
        r"password authentication failed|no password supplied|authentication failed for user",
        "The server refused user {user} or the password. Check both.",
    ),
    (
        r"no pg_hba\.conf entry",
        (
            "The server does not let user {user} into database {database} from this machine. "
            "Add a line for it to pg_hba.conf on the server."
        ),
    ),
    (
        (
            r"could not translate host name|failed to resolve host|name or service not known"
            r"|nodename nor servname|temporary failure in name resolution"
        ),
        "The host name {host} is not known. Check its spelling and this machine's DNS.",
    ),
    (
        r"connection refused|could not connect to server: no such file|no such file or directory",
        (
            "Nothing answers at {host}:{port}. Check host and port, and that PostgreSQL runs "
            "there and listens for other machines (listen_addresses)."
        ),
    ),
    (
        r"certificate|root\.crt",
        (
            "The server's certificate could not be verified. Check the certificate authority "
            "file and that the certificate is valid for {host}."
        ),
    ),
    (
        r"does not support ssl",
        "The server does not offer encryption. Turn on ssl there, or choose another setting here.",
    ),
    (
        r'database "[^"]*" does not exist',
        "There is no database {database} on this server. Check its spelling.",
    ),
    (r'role "[^"]*" does not exist', "There is no user {user} on this server."),
    (
        r"timeout expired|timed out|no route to host|network is unreachable|host is down",
        "{host}:{port} cannot be reached. Check the address, the network and the firewall.",
    ),
    (
        r"too many clients|remaining connection slots|too many connections",
        "The server has no free connection. Raise max_connections there, or try again later.",
    ),
    (
        r"permission denied to create database",
        "User {user} may not create databases. Give it CREATEDB, or use a user that has it.",
    ),
    (
        r"permission denied for|must be owner of|query would be affected by row-level security",
        (
            "User {user} may not read everything in {database}. Give it the role "
            "pg_read_all_data (or ownership), then try again."
        ),
    ),
    (
        r"no space left on device|disk full|could not extend file",
        "The disk of the database server is full. Free some space there.",
    ),
    (r"canceling statement due to lock timeout|lock timeout", "A table stayed locked too long."),
    (
        (
            r"server closed the connection|connection to server was lost|terminating connection"
            r"|connection not open|ssl syscall error|consuming input failed|the connection is lost"
            r"|could not receive data from server|is shutting down|is starting up"
        ),
        "The connection to the server was lost. Check that PostgreSQL runs, and its log.",
    ),
    (
        r"unsupported version \(",
        (
            "The artifact was made by a newer pg_dump than the pg_restore here. "
            "Install a newer PostgreSQL client."
        ),
    ),
)


def explain(said: str, config: Mapping[str, Any]) -> str:
    """Return our words about the error, followed by those of the server or program."""
    lowered = said.lower()
    for sign, words in _WORDS:
        if re.search(sign, lowered):
            facts = {key: config.get(key, "") for key in ("host", "port", "user", "database")}
            return f"{words.format_map(facts)}\n{said}".strip()
    return said.strip()
