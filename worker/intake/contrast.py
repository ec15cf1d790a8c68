"""Whether texts say that a contrast agent was given.

A T1 image after contrast is not graded as T1, so the words decide about ten targets: `KM-frei`,
`edge enhanced` and `FOV 28 cm` name no agent, `no FS post gad` does.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from worker.intake.negation import NEGATIONS, clauses
from worker.intake.tokens import plain, terms, tokens

_AGENTS: Final = terms(
    "gd gad gado gadolinium gadovist gadavist dotarem clariscan prohance multihance magnevist "
    "omniscan dotagraf gadolinio km kontrast kontrastmittel contrast contraste contrasto mdc "
    "pdc ce inj injected injecte injectee injection inyeccion iniezione injecao injektion civ "
    "iv postcon postcontrast postgado postgd postkm nachkm kontrastli ку сконтрастом صبغة الصبغة "
    "بالصبغة تباين التباين بالتباين 增强 增強 造影剂 造影劑 造影剤 造影 对比剂 對比劑 조영제 "
    "조영 증강 打药"
)
"""Nouns for the agent or its injection; `cm` and `pc` are weak, see `_WEAK`."""
_AGENT_STEMS: Final = tuple(
    sorted(terms("gad contrast kontrast контраст гадол σκιαγραφικ γαδολιν"))
)
_BRAND_STEMS: Final = (
    *("gad", "dotar", "dotag", "magnev", "omnisc", "prohan", "multih", "primov", "vasov"),
    *("clarisc", "cyclol", "eovist", "ablavar", "optimark", "artirem", "eluci", "vueway", "pixx"),
    *("magneg", "magnesc", "gd"),
)
_WEAK: Final = terms("cm pc")
"""Abbreviations of agents that are also centimetres and phase contrast."""

_DYNAMIC: Final = terms("dyn dynamic dynamique dynamisch dinamica dinamico")
_WITH: Final = terms("with mit avec con com med met с με مع")
_AFTER: Final = terms(
    "post pos after nach apres dopo despues depois na efter после μετα بعد 后 後 후"
)
_WITHOUT: Final = NEGATIONS | terms(
    "vor before avant antes prima voor o pre prae до πριν قبل once oncesi 前 전 non"
)
_PLAIN: Final = terms(
    "nativ native natif nativo nativa plain unenhanced nonenhanced noncontrast precontrast "
    "平扫 平掃 单纯 単純 нативно нативное"
)
_FREE: Final = terms("frei free less los なし 無し 없음 yok suz siz 전 前")
_NONE: Final = terms(
    "no none nein nil non nee нет χωρις ninguno aucun nessuno 0 無 无 neg negative"
)
_NOT_GIVEN_SUFFIXES: Final = ("frei", "free", "less", "los", "siz", "suz")
_OTHER_ENHANCEMENT: Final = terms(
    "edge dl ai deep resolution detail image signal snr quality filter iq speed"
)
_OTHER_CONTRAST: Final = terms("phase high low tissue image soft t1 t2")
SURGERY: Final = terms(
    "op operative operativ operatorio operatoire surgery surgical surg operation operatie "
    "laminectomy laminektomie laminectomie laminectomia discectomy diskectomy diskektomie "
    "discectomie discectomia nukleotomie fusion decompression dekompression trauma traumatic "
    "spondylodese spondylodesis arthrodese arthrodesis artrodesis artrodesi biopsy "
    "microdiscectomy hemilaminectomy stabilisierung implant implantation chirurgie cirugia "
    "chirurgia cirurgia ameliyat операции операция radiation partum fall accident unfall"
)
_SIGN: Final = re.compile(r"\+\s*(?:c|km|gd|k)\b|\b(?:c|km)\s*\+|\bt1w?i?c\b|\bc/(?:c|gd)")
"""`+C`, `KM +`, `T1C` and the Spanish `c/c`, with contrast (`s/c` is without)."""
_WITHOUT_SIGN: Final = re.compile(r"\bs/c\b|(?<![\w+])-(?:c|km|gd)\b|\bo\.\s*km\b")
_REACH: Final = 3
"""How many words before an agent a preposition may stand: `senza mezzo di contrasto`."""

_NOT_STATED: Final = terms("na unknown unspecified unbekannt inconnu desconocido ignoto false n a")


def agent_given(value: str) -> bool:
    """Whether Contrast/Bolus Agent (PS3.3 C.7.6.4) names an agent, or says that there was none.

    Consoles write `NO CONTRAST`, `KM-frei` or `0 ml` there. A text without a denial is an agent.
    """
    words = tokens(value)
    brands = [word for word in words if word.startswith(_BRAND_STEMS)]
    if brands:
        return not (set(words[: words.index(brands[0])]) & _WITHOUT) and not _denied_after(
            words, words.index(brands[0])
        )
    meant = [word for word in words if word not in _NOT_STATED and not _amount(word)]
    denied = (
        _WITHOUT_SIGN.search(plain(value))
        or set(words) & (_WITHOUT | _NONE | _FREE | _PLAIN)
        or any(_denies(word) for word in words)
        or any(pair == ("w", "o") for pair in pairwise(words))
    )
    return bool(meant) and not denied


def names_contrast(text: str) -> bool:
    """Whether the description of a series says that a contrast agent was given."""
    if _WITHOUT_SIGN.search(plain(text)) and not _SIGN.search(plain(text)):
        return False
    given = bool(_SIGN.search(plain(text).replace("_", " ")))
    for clause in clauses(text.replace(".", " ")):
        claims = [claim for at in range(len(clause)) if (claim := _claim(clause, at)) is not None]
        if any(claims):
            return True
        if claims or set(clause) & _PLAIN:
            given = False
    return given


def _claim(words: tuple[str, ...], at: int) -> bool | None:
    """Whether the word there says that an agent was given (or was not), None if neither."""
    word = words[at]
    before, following = words[:at][-_REACH:], (*words[at + 1 :], "")[0]
    if word in _DYNAMIC:
        return True
    if word in _AFTER:
        # `pos` and `post` alone mean the injection, `post laminectomy` does not.
        alone = word in ("post", "pos") and (not following or not _operation(words[at + 1 :]))
        return True if alone and not set(before) & _WITHOUT else None
    if word in _WITH:
        return True if not following or following == "c" else None
    if word == "enhanced":
        unlike = (before[-1:] and before[-1] in _OTHER_ENHANCEMENT) or following == "conversion"
        return None if unlike else not _denied_before(before)
    if _denies(word):
        return False
    if word in _WEAK:
        if before and before[-1].isdigit():
            return None
    elif not names_agent(word):
        return None
    if before and before[-1] in _OTHER_CONTRAST - {"t1", "t2"} and word == "contrast":
        return None
    return not (_denied_before(before) or _denied_after(words, at))


def names_agent(word: str) -> bool:
    """Whether a word means an agent or its injection."""
    return word in _AGENTS or (word.startswith(_AGENT_STEMS) and not _denies(word))


def _operation(following: tuple[str, ...]) -> bool:
    return any(word in SURGERY for word in following[:2])


def _denied_before(before: tuple[str, ...]) -> bool:
    """Whether the nearest preposition before an agent denies it."""
    for word in reversed(before):
        if word in _WITHOUT:
            return True
        if word in _WITH or word in _AFTER:
            return False
    return False


def _denied_after(words: tuple[str, ...], at: int) -> bool:
    following = words[at + 1 : at + 2]
    if not following:
        return False
    return following[0] in _FREE or (following[0] in _NONE and at + 2 == len(words))


def _denies(word: str) -> bool:
    """Whether one word says that no agent was given: `kontrastmittelfrei`, `nonenhanced`."""
    return word in _PLAIN or (
        word.startswith((*_AGENT_STEMS, "km")) and word.endswith(_NOT_GIVEN_SUFFIXES)
    )


def _amount(word: str) -> bool:
    """Whether a word is a number or a unit: `0 ml` names no agent."""
    return word.isdigit() or word in ("ml", "cc", "mmol", "mg", "kg")
