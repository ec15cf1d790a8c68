"""Reading single values from a header: what is absent or malformed is simply not there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an attribute; empty where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    if isinstance(value, MultiValue | Sequence | list | tuple):
        return tuple(value)
    return (value,)


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value as a finite number."""
    numbers = _finite(values(dataset, keyword)[:1])
    return numbers[0] if numbers else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The first value as a whole number."""
    found = number(dataset, keyword)
    return None if found is None or found != int(found) else int(found)


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    found = _finite(values(dataset, keyword))
    return found if len(found) == count else None


def text(dataset: Dataset, keyword: str) -> str:
    """The values as one text, the parts of a multi-valued one joined by a backslash."""
    return "\\".join(str(value).strip() for value in values(dataset, keyword))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values as texts in upper case, the way code strings are compared."""
    return tuple(str(value).strip().upper() for value in values(dataset, keyword))


def item(dataset: Dataset, keyword: str, index: int = 0) -> Dataset:
    """One item of a sequence; an empty dataset where there is none."""
    found = values(dataset, keyword)
    nested = found[index] if index < len(found) else None
    return nested if isinstance(nested, Dataset) else Dataset()


def functional_group(header: Dataset, frame: Dataset, keyword: str) -> Dataset:
    """A functional group of one frame: its own, else the one all frames share (PS3.3 C.7.6.16)."""
    shared = item(header, "SharedFunctionalGroupsSequence")
    return item(frame if values(frame, keyword) else shared, keyword)


def _finite(found: Iterable[Any]) -> tuple[float, ...]:
    result = []
    for value in found:
        try:
            result.append(float(value))
        except (TypeError, ValueError):
            return ()
    return tuple(result) if all(math.isfinite(value) for value in result) else ()
