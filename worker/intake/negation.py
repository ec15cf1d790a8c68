"""Which words of a text are denied: `no fusion or hardware`, `KM-frei`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from worker.intake.tokens import terms, tokens

NEGATIONS: Final = terms(
    "no not without ohne kein keine keinen sans pas sin sem senza nessun nessuna zonder geen "
    "non utan uden ingen aucun aucune ningun ninguna nenhum nenhuma wo nil nicht never niente "
    "nada без нет не χωρις οχι δεν بدون لا yok degil 无 無 非 未 没有 不 비 미 없이"
)
"""Words before what they deny; also `w/o`, see `clauses`."""

NEGATIONS_AFTER: Final = terms("frei free negative negativ removed removal なし 無し 없음 yok")
"""Words after what they deny."""

_WITHOUT: Final = re.compile(r"\bw\s?/\s?o\b|\bw\.o\.", re.IGNORECASE)
_BREAK: Final = re.compile(r"[,;:.()\[\]\n]")
"""A negation does not extend across these."""

_AND_OR: Final = terms("or and nor oder und noch ou et ni o y e of en или ve veya")
_REACH: Final = 2
"""How many words a negation reaches."""


def clauses(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each part of a text, `w/o` as `without`."""
    for clause in _BREAK.split(_WITHOUT.sub(" without ", text)):
        if found := tokens(clause):
            yield found


def denied(words: tuple[str, ...], ends: frozenset[str] = frozenset()) -> tuple[bool, ...]:
    """Which words of a clause are denied.

    A negation reaches two words, and across `or`; a word in `ends` uses it up: `without contrast`
    denies nothing that follows.
    """
    left = 0
    found: list[bool] = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in NEGATIONS:
            left = _REACH
            found.append(True)
            continue
        if left and word in _AND_OR:
            left = _REACH
            found.append(True)
            continue
        found.append(left > 0 or following in NEGATIONS_AFTER)
        left = 0 if word in ends else max(0, left - 1)
    return tuple(found)
