"""Words for an operated spine and for an unusual number of lumbar vertebrae, and their denials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from worker.intake.contrast import names_agent
from worker.intake.negation import clauses, denied
from worker.intake.tokens import terms, tokens

_TRANSITIONAL: Final = terms(
    "lstv ltv castellvi bertolotti transitional transitionnel transitionnelle transicional "
    "transizionale ubergangswirbel uebergangswirbel overgangswervel l6 移行椎 이행성 이행 "
    "骶化 腰化 仙椎化 腰椎化 переходный сакрализация люмбализация sakralizasyon lumbalizasyon "
    "ιεροποιηση οσφυοποιηση"
)
_TRANSITIONAL_STEMS: Final = (
    *("sacralisa", "sacralise", "sacraliz", "sakralisa", "sakralisi"),
    *("lumbarisa", "lumbarise", "lumbarisi", "lumbariz", "lumbaliz", "lumbalisa", "lumbalisi"),
    *("lumbalise", "lombarisa", "lombarise", "lombarisi", "lombariz", "lombaliz", "lombalisa"),
    *sorted(terms("сакрализ люмбализ")),
)
"""Not `lumbaris`: that is Latin for lumbar."""
_TRANSITION: Final = terms("transition transicion transizione transicao")
_VERTEBRA_STEMS: Final = ("vertebr", "wirbel", "wervel", "lendenwirbel", "позвон")
"""`transition` alone usually means a junction of regions; with a vertebra it is an anomaly."""
_UNUSUAL_COUNTS: Final = terms(
    "4 6 four six sixth vier sechs sechster sechste sechsten cuatro seis sexta quattro sei "
    "sesta quatre sixieme quatro zes zesde шесть четыре alti dort"
)
_LUMBAR_STEMS: Final = ("lumb", "lomb", "lend", "пояснич")

_METAL: Final = terms(
    "screw screws schraube schrauben tornillo tornillos parafuso parafusos viti vite schroef "
    "schroeven vis hardware rod rods stab stabe barra barras barre tige tiges cage cages "
    "plate osteosynthesis osteosynthese osteosintesis osteosintesi spondylodesis spondylodese "
    "spondylodeses spondilodesi espondilodesis espondilodese arthrodesis arthrodese "
    "artrodesis artrodesi artrodese fusion fusions fused fusionado fusionada fusione fusao "
    "fusie tlif plif alif xlif olif llif dlif acdf glif titane titanio titanium titaan "
    "instrumented instrumentation instrumentiert instrumentierung instrumentacion "
    "instrumentacao implant implants implanted implantat implantate implantaat implante "
    "implantes impianto protesi protesis prothese prothesen prothesis prosthesis prostheses "
    "proteses protese versteifung versteift versteifungs versteifungsoperation stabilisierung "
    "fixateur fixator fixation fixierung fijacion fissazione fixacao coflex xstop harrington "
    "stimulator neurostimulator arthroplasty bandscheibenprothese osteosentez vida vidalar "
    "implantlar fuzyon винты винт спондилодез транспедикулярная имплант имплантат имплантаты "
    "импланты металлоконструкция металлоконструкции фиксация βιδες σπονδυλοδεσια εμφυτευμα "
    "υλικα براغي مسامير تثبيت زرعة 螺钉 螺釘 内固定 內固定 融合 植入物 钢板 金属 金屬 "
    "スクリュー 固定術 インプラント 나사 고정술 유합술 임플란트"
)
_METAL_STEMS: Final = ("metal", "металл")
_REMOVAL: Final = ("entfern", "removal", "ablation")
"""`Metallentfernung`: the metal was removed."""
_IMAGE_FUSION: Final = terms("image images bild bilder pet ct spect imagen immagini")
"""`image fusion` is computed."""
_BEFORE_SURGERY: Final = terms(
    "pre before vor prior avant antes prima geplant geplante planned preop praop prae voor до"
)
_TO: Final = terms("to de di a la der dem die the")

_METAL_SEQUENCES: Final = ("semac", "mavric", "warp")
"""Vendor names of metal artefact reduction; `mars` is matched alone: it is also a month."""


def transitional(text: str) -> str | None:
    """The words that name a transitional or a supernumerary vertebra; None without them."""
    for words, index in _not_denied(text):
        word, near = words[index], words[max(0, index - 2) : index + 3]
        if word in _TRANSITIONAL or word.startswith(_TRANSITIONAL_STEMS):
            return word
        if word in _TRANSITION and any(other.startswith(_VERTEBRA_STEMS) for other in near):
            return word
        if word in _UNUSUAL_COUNTS and _counts_vertebrae(words[index + 1 : index + 4]):
            return f"{word} lumbar vertebrae"
    return None


def metal(text: str) -> str | None:
    """The word that names metal, an implant or a fusion of the spine; None without one."""
    for words, index in _not_denied(text):
        word = words[index]
        named = word in _METAL or (
            word.startswith(_METAL_STEMS) and not any(part in word for part in _REMOVAL)
        )
        if named and not _planned(words[:index]) and not _computed(words, index):
            return word
    return None


def metal_sequence(text: str) -> str | None:
    """The word that names a metal artefact reduction sequence; None without one."""
    for word in tokens(text):
        if word == "mars" or any(name in word for name in _METAL_SEQUENCES):
            return word
    return None


def _not_denied(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each word that is not denied, as all words of the text and its index there."""
    parts = tuple(clauses(text))
    words = tuple(word for part in parts for word in part)
    agents = frozenset(filter(names_agent, words))
    flags = [flag for part in parts for flag in denied(part, agents)]
    yield from ((words, index) for index, flag in enumerate(flags) if not flag)


def _counts_vertebrae(following: tuple[str, ...]) -> bool:
    """Whether the words after a number name lumbar vertebrae: `6 lumbar type vertebrae`."""
    if "lwk" in following[:1]:
        return True
    lumbar = any(word.startswith(_LUMBAR_STEMS) for word in following)
    return lumbar and any(
        word.startswith(_VERTEBRA_STEMS) or "wirbel" in word or "wervel" in word
        for word in following
    )


def _planned(before: tuple[str, ...]) -> bool:
    """Whether the words before an operation say that it lies ahead: `prior to fusion`."""
    near = [word for word in before[-3:] if word not in _TO]
    return bool(near) and near[-1] in _BEFORE_SURGERY


def _computed(words: tuple[str, ...], index: int) -> bool:
    beside = {*words[max(0, index - 2) : index], *words[index + 1 : index + 2]}
    return words[index].startswith("fusion") and bool(beside & _IMAGE_FUSION)
