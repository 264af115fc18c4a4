"""What must be changed in a dump of mysqldump on its way into another database."""

import re
from typing import Final

# the first line of newer MariaDB dumps; older clients and MySQL's stumble over it
_SANDBOX: Final = re.compile(rb"\A/\*M?!999999\\- enable the sandbox mode \*/\s*\n")
_START: Final = b"ALTER DATABASE `"
# around routines that were made under another collation; it names the database that was dumped
_ALTER: Final = re.compile(rb"^ALTER DATABASE `(?:[^`]|``)+` ", re.MULTILINE)
_LONGEST: Final = 400  # bytes of such a beginning


class Renamed:
    """Lets a dump change the settings of the new database instead of those of its origin."""

    def __init__(self, name: str) -> None:
        quoted = name.replace("`", "``").encode()
        self._own = b"ALTER DATABASE `" + quoted + b"` "
        self._held = b""
        self._is_first = True
        self._within_line = False

    def take(self, chunk: bytes) -> bytes:
        """Return what can be passed on; the beginning of a line may have to wait."""
        data = self._held + chunk
        if self._is_first:
            data, self._is_first = _SANDBOX.sub(b"", data), False
        line = data.rfind(b"\n") + 1
        rest = data[line : line + _LONGEST]
        is_beginning = bool(line) or not self._within_line
        waits = (
            is_beginning
            and len(data) - line < _LONGEST
            and (rest.startswith(_START) or _START.startswith(rest))
        )
        self._held = data[line:] if waits else b""
        ready = self._replaced(data[:line] if waits else data)
        self._within_line = not waits
        return ready

    def end(self) -> bytes:
        """Return what waited."""
        return self._replaced(self._held)

    def _replaced(self, data: bytes) -> bytes:
        if _START not in data:
            return data
        start = data.find(b"\n") + 1 if self._within_line else 0
        if self._within_line and not start:
            return data
        return data[:start] + _ALTER.sub(lambda _: self._own, data[start:])
