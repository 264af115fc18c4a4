"""Which values of a stored configuration are secret, for channels, sources and destinations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from webapp.backup import destinations, sources
from webapp.core.secrets import is_reference
from webapp.notify import channels


@dataclass(frozen=True)
class Kind:
    """A table with sealed configurations. `types` is its registry."""

    types: Mapping[str, Any]

    def knows(self, type_name: str) -> bool:
        """Say whether this version has the type."""
        return type_name in self.types

    def summary(self, type_name: str, config: Mapping[str, Any]) -> str:
        """Return what may be shown of the configuration, at most 200 characters."""
        summarize: Callable[[Mapping[str, Any]], str] = self.types[type_name].summarize
        return summarize(config)[:200]

    def split(
        self, type_name: str, config: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the open values and the secret ones.

        A reference is no secret. What the type's form does not know counts as one, and of a type
        that this version lacks, everything.
        """
        hidden = self._secret_fields(type_name, config)
        secret = {
            key: value
            for key, value in config.items()
            if key in hidden and value and not is_reference(value)
        }
        return {key: value for key, value in config.items() if key not in secret}, secret

    def _secret_fields(self, type_name: str, config: Mapping[str, Any]) -> frozenset[str]:
        if not self.knows(type_name):
            return frozenset(config)
        form = self.types[type_name].form
        known = {field.short_name for field in form()}
        return frozenset({*form.secret_fields(), *(set(config) - known)})


CHANNELS: Final = Kind(channels.BY_TYPE)
SOURCES: Final = Kind(sources.BY_TYPE)
DESTINATIONS: Final = Kind(destinations.BY_TYPE)
