"""What MySQL, MariaDB and their programs complain about, and what to do."""

import re
from collections.abc import Mapping
from typing import Any, Final

# sign in the text (lower case) -> words; the first that fits counts
_WORDS: Final[tuple[tuple[str, str], ...]] = (
    (
        r"access denied; you need|super privilege|set user|set_user_id|allow_nonexistent_definer",
        (
            "User {user} may not create views or routines that belong to somebody else. Give it "
            "SUPER, or SET USER on MariaDB and SET_USER_ID on MySQL."
        ),
    ),
    (
        r"access denied for user '[^']*'@'[^']*' \(using password|1045",
        (
            "The server refused user {user} or the password. Check both, and that the user may "
            "come from this machine."
        ),
    ),
    (
        r"access denied for user '[^']*'@'[^']*' to database|1044",
        "User {user} may not use or create that database. Give it the rights for it.",
    ),
    (
        r"host '[^']*' is (not allowed|blocked)|1130|1129",
        "The server does not let this machine in. Allow user {user} from here on the server.",
    ),
    (r"unknown database|1049", "There is no database {database} on this server. Check its name."),
    (
        r"command denied to user|insufficient privileges|1142|1227|1370",
        (
            "User {user} may not read everything in {database}. Give it SELECT, SHOW VIEW, TRIGGER "
            "and EVENT there, and the right to see routines."
        ),
    ),
    (
        r"does(?:n't| not) support ssl|ssl is required,? but the server|server doesn't support ssl",
        "The server does not offer encryption. Turn on TLS there, or choose another setting here.",
    ),
    (
        r"certificate|ssl_ca|tls|ssl connection error",
        (
            "The server's certificate could not be verified. Check the certificate authority file "
            "and that the certificate is valid for {host}."
        ),
    ),
    (
        r"can't connect to.*(timed out|\(110\))|timed out|no route to host|network is unreachable",
        "{where} cannot be reached. Check the address, the network and the firewall.",
    ),
    (
        r"connection refused|can't connect to|no such file or directory",
        (
            "Nothing answers at {where}. Check host and port, and that the database server "
            "runs there and listens for other machines (bind-address)."
        ),
    ),
    (
        r"max_allowed_packet|got a packet bigger",
        "A row is larger than the server takes. Raise max_allowed_packet there.",
    ),
    (r"too many connections", "The server has no free connection. Raise max_connections there."),
    (
        r"no space left|disk full|errno: 28|table .* is full",
        "The disk of the database server is full. Free some space there.",
    ),
    (
        r"definition has changed|1412",
        "Somebody changed the structure of a table during the dump. Run the backup again.",
    ),
    (
        (
            r"lost connection|gone away|server shutdown|shutdown in progress|connection was killed"
            r"|broken pipe|connection reset"
        ),
        "The connection to the server was lost. Check that it runs, and its log.",
    ),
)


def explain(said: str, config: Mapping[str, Any]) -> str:
    """Return our words about the error, followed by those of the server or program."""
    lowered = said.lower()
    for sign, words in _WORDS:
        if re.search(sign, lowered):
            facts = {key: config.get(key, "") for key in ("host", "port", "user", "database")}
            is_socket = str(facts["host"]).startswith("/")
            facts["where"] = facts["host"] if is_socket else f"{facts['host']}:{facts['port']}"
            return f"{words.format_map(facts)}\n{said}".strip()
    return said.strip()
