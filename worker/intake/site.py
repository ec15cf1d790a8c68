"""Routing rules of a site, in TOML: they precede the built-in rules and are checked on load.

```toml
[[rule]]
name = "our sagittal STIR"
description = "^SAG_IR_FS"    # regular expression, as are manufacturer, body_part and station
manufacturer = "SIEMENS"
series_number = [1, 99]       # first and last
role = "sagittal_t2"          # or "none", with a reason
reason = "named by the console since 2023"

[[rule]]
name = "WARP is our routine"
description = "WARP"
grade_despite = ["metal"]     # see `Objection`; with a role or without
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import re2

from worker.domain.study import Acquisition, Role, Series
from worker.errors import BadSettings


class Objection(StrEnum):
    """What a site can lift for the series that a rule matches.

    Never what protects from a wrong patient, side or level, nor contrast and age.
    """

    METAL = "metal"
    TRANSITIONAL = "transitional vertebra"
    SHORT_STACK = "short stack"
    FEW_SLICES = "too few slices"


_TEXTS: Final[dict[str, Callable[[Acquisition], tuple[str, ...]]]] = {
    "description": lambda a: (a.series_description, a.protocol_name),
    "study_description": lambda a: (a.study_description,),
    "manufacturer": lambda a: (a.manufacturer,),
    "body_part": lambda a: (a.body_part,),
    "station": lambda a: (a.station_name,),
}
"""The conditions on texts, and the texts of each; one of them must match."""

_NUMBER: Final = "series_number"
_CONDITIONS: Final = (*_TEXTS, _NUMBER)
_DESPITE: Final = "grade_despite"
_KEYS: Final = ("name", *_CONDITIONS, "role", "reason", _DESPITE)
_NO_ROLE: Final = "none"
_ROLES: Final = (*(role.value for role in Role), _NO_ROLE)


class Pattern(Protocol):
    """A compiled regular expression."""

    def search(self, text: str) -> object:
        """A match anywhere in a text, or None."""
        ...


def compiled(expression: str) -> Pattern:
    """A regular expression of RE2, which matches in linear time; case does not matter.

    Python's own engine can take minutes for `^(a+)+$`. Raises re2.error.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    pattern: Pattern = re2.compile(expression, options)
    return pattern


@dataclass(frozen=True)
class SiteRule:
    """One rule: every condition must hold.

    `gives_role` is false where it only lifts objections; `role` is None where it excludes a series.
    `series_number` is the first and the last number, inclusive.
    """

    name: str
    role: Role | None
    reason: str
    patterns: tuple[tuple[str, Pattern], ...] = ()
    series_number: tuple[int, int] | None = None
    gives_role: bool = True
    grade_despite: frozenset[Objection] = frozenset()

    @property
    def title(self) -> str:
        """The name of the rule in reasons."""
        return f"site rule {self.name!r}"

    @property
    def because(self) -> str:
        """Its reason; without one, the conditions that matched."""
        return self.reason or f"{', '.join(name for name, _ in self.patterns) or _NUMBER} matches"

    def matches(self, series: Series) -> bool:
        """Whether a series meets every condition."""
        found = series.acquisition
        if self.series_number is not None:
            first, last = self.series_number
            if found.series_number is None or not first <= found.series_number <= last:
                return False
        return all(
            any(pattern.search(text) for text in _TEXTS[name](found) if text)
            for name, pattern in self.patterns
        )


def first_match(rules: Sequence[SiteRule], series: Series) -> SiteRule | None:
    """The first rule about roles whose conditions a series meets."""
    return next((rule for rule in rules if rule.gives_role and rule.matches(series)), None)


def lifting(rules: Sequence[SiteRule], series: Series, objection: Objection) -> SiteRule | None:
    """The first rule that grades a series despite an objection."""
    return next(
        (rule for rule in rules if objection in rule.grade_despite and rule.matches(series)), None
    )


def load_site_rules(path: Path) -> tuple[SiteRule, ...]:
    """The rules of a file, in its order.

    Raises BadSettings with the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadSettings(f"cannot read site rules {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"site rules {path} are not UTF-8 text") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: invalid TOML: {error}") from error
    lines = _Lines(path, text)
    for key in content:
        if key != "rule":
            raise lines.error(None, key, f"unknown key {key!r}; the file contains [[rule]] tables")
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise lines.error(None, "rule", "write each rule as a [[rule]] table")
    read = tuple(_read(table, index, lines) for index, table in enumerate(tables))
    names = [rule.name for rule in read]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise lines.error(index, "name", f"duplicate rule name {name!r}")
    return read


class _Lines:
    """Finds the line of a key in a file, because tomllib does not report lines."""

    _TABLE: Final = re.compile(r"\s*\[\[\s*[\"']?rule[\"']?\s*\]\]")

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._tables = [n for n, line in enumerate(self._lines) if self._TABLE.match(line)]

    def error(self, rule: int | None, key: str | None, problem: str) -> BadSettings:
        """An error at a key of a rule, or at its [[rule]] where the key is absent."""
        begin, end = 0, len(self._lines)
        if rule is not None and rule < len(self._tables):
            begin, end = self._tables[rule], (*self._tables, end)[rule + 1]
        named = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key or '')}[\"']?\s*[=.\]]")
        places = (n for n in range(begin, end) if key and named.match(self._lines[n]))
        return BadSettings(f"{self._path}, line {next(places, begin) + 1}: {problem}")


def _read(table: dict[str, Any], index: int, lines: _Lines) -> SiteRule:
    def wrong(key: str | None, problem: str) -> BadSettings:
        return lines.error(index, key, problem)

    for key, value in table.items():
        if key not in _KEYS:
            raise wrong(key, f"unknown key {key!r}; known: {', '.join(_KEYS)}")
        if key not in (_NUMBER, _DESPITE) and not isinstance(value, str):
            raise wrong(key, f"{key} must be a string")
    if not table.get("name"):
        raise wrong("name", "a rule needs a name")
    if not table.keys() & {"role", _DESPITE}:
        raise wrong(None, f"a rule needs {_DESPITE}, or a role: one of {', '.join(_ROLES)}")
    role = table.get("role", _NO_ROLE)
    if role not in _ROLES:
        raise wrong("role", f"unknown role {role!r}; known: {', '.join(_ROLES)}")
    if table.get("role") == _NO_ROLE and not table.get("reason"):
        raise wrong("role", 'a rule with the role "none" needs a reason')
    if not table.keys() & set(_CONDITIONS):
        raise wrong(None, f"a rule needs a condition: one of {', '.join(_CONDITIONS)}")
    patterns = []
    for key in _TEXTS:
        if key not in table:
            continue
        try:
            patterns.append((key, compiled(table[key])))
        except re2.error as error:
            why = error.args[0].decode() if isinstance(error.args[0], bytes) else error
            raise wrong(key, f"{key} is not a valid regular expression of RE2: {why}") from error
    return SiteRule(
        name=table["name"],
        role=None if role == _NO_ROLE else Role(role),
        reason=table.get("reason", ""),
        patterns=tuple(patterns),
        series_number=_numbers(table, wrong),
        gives_role="role" in table,
        grade_despite=_despite(table, wrong),
    )


def _despite(
    table: dict[str, Any], wrong: Callable[[str | None, str], BadSettings]
) -> frozenset[Objection]:
    listed = table.get(_DESPITE, [])
    known = [objection.value for objection in Objection]
    if not isinstance(listed, list) or not all(one in known for one in listed):
        raise wrong(_DESPITE, f"{_DESPITE} must be a list of: {', '.join(known)}")
    return frozenset(map(Objection, listed))


def _numbers(
    table: dict[str, Any], wrong: Callable[[str | None, str], BadSettings]
) -> tuple[int, int] | None:
    match table.get(_NUMBER):
        case None:
            return None
        case [int(first), int(last)] if first <= last and bool not in (type(first), type(last)):
            return first, last
        case _:
            raise wrong(_NUMBER, f"{_NUMBER} must be the first and the last number, such as [1, 9]")
