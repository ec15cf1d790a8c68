"""Finding a strategy by its name: in a registry, or among installed packages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

Offered = TypeVar("Offered")


def find(what: str, name: str, registry: Mapping[str, Offered], group: str) -> Offered:
    """The class of this name: of the registry, else of an installed package's entry points.

    `group` is the entry point group in which other packages offer theirs. Raises ValueError that
    lists the known names, nearest first.
    """
    if name in registry:
        return registry[name]
    offered = {entry.name: entry for entry in entry_points(group=group)}
    if name in offered:
        try:
            found: Offered = offered[name].load()
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"{what} {name!r} of {offered[name].value} cannot be imported: {error}"
            ) from error
        return found
    raise ValueError(unknown(what, name, [*registry, *offered]))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A message about an unknown name that lists the known ones, nearest first."""
    return f"unknown {what} {name!r}: known are {', '.join(nearest_first(name, known))}"


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """The known names in the order of their likeness to one that is not known."""

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()

    return sorted(known, key=lambda other: (-likeness(other), other))
