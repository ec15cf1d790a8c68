r"""The vocabulary of series descriptions, in several languages and vendor codes.

Descriptions are tokenised rather than searched: `\b` does not split at an underscore,
and `fat` means one thing in `FAT: Ax T2 FSE Flex` and another in `t2_tse_fatsat`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from worker.domain.study import Acquisition


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def modality(code: str) -> str:
    """A modality for messages; a value that is not a DICOM term is hidden: it may be a name."""
    return code if code in _MODALITIES else "another modality" if code else "unknown"


_MODALITIES: Final = _words(
    "AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD "
    "IO IOL IVOCT IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA "
    "PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN "
    "RTSTRUCT RWV SC SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC"
)
"""Defined terms of Modality (0008,0060), PS3.3 C.7.3.1.1.1."""

_TOKEN: Final = re.compile(r"[a-z0-9]+\*?")

LOCALISER: Final = _words(
    "loc lok localisateur lokalisator localizzatore localizador locator survey surview topogram "
    "posdisp plan planung planning reperage reperes cal calibration smartbrain 3plane 3pl "
    "planloc triplane triplano scanogram scano pilot piloto ubersicht uebersicht overzicht "
    "centratura centraje coilsurvey refscan shim prescan"
)
LOCALISER_STEMS: Final = ("scout", "localiz", "localis", "lokalis")
GRADIENT_ECHO: Final = _words(
    "medic merge merged gre gr2d ge2d ffe mffe bffe btfe flash vibe fisp truefi trufi truefisp "
    "trufisp fiesta ciss ciss3d dess swi spgr fspgr fgre lava thrive cosmic t2* t2star star t2s "
    "hemo mprage tfe bravo me2d me3d fl2d fl3d fe2d fe3d ssfp tof ge eg gradiente gradienten "
    "gradientenecho feldecho"
)
GRADIENT_PHRASES: Final = frozenset(
    {("echo", "gradient"), ("eco", "gradiente"), ("eco", "gradient"), ("gradient", "echo")}
)
"""First and third of three words, such as `écho de gradient`."""

DIFFUSION: Final = _words(
    "dwi diff diffusion difusion difusao diffusione diffusie dti adc dadc eadc trace tracew epi "
    "ep2d dwibs ivim bold perf perfusion dce dsc resolve"
)
B_VALUE: Final = re.compile(r"b\d{3,4}")
RECONSTRUCTION: Final = _words(
    "mip minip mpr mprs cpr projection reformat reformatted sub screen screensave screenshot "
    "capture report map maps mapping t1map t2map key keyimages"
)
SUBTRACTION_STEMS: Final = ("subtr", "substr", "sustr", "soustr", "sottr")
MYELOGRAPHY_STEMS: Final = ("myelo", "mielo")
DIXON: Final = _words("dixon mdixon flex ideal qdixon")
OPPOSED: Final = _words(
    "in opp op ip out inphase outphase opposed opposedphase inphaseflex outofphase opphase"
)
FAT_IMAGE_FOLLOWERS: Final = _words(
    "sat saturated saturation saturacion sup supp suppr suppressed suppression unterdruckung "
    "unterdrueckung saturato soppressa saturada"
)
FAT_SUPPRESSED: Final = _words(
    "fs fatsat fsat fatsup fatsupp spir spair fett fettgesattigt fettsat spectralfatsat satfat "
    "sf fatsuppr dixonw chess proset grasa graisse gordura grasso vetsuppressie vetverzadiging "
    "fettsattigung fettsaettigung fettunterdruckung fettunterdrueckung"
)
STIR: Final = _words("stir tirm tir irtse irfse fir")
PROTON_DENSITY: Final = _words("pd pdw pdwi pdfs dp proton rho protonendichte")

CONTRAST: Final = _words(
    "gd gad gado gadolinium gadovist gadavist dotarem clariscan prohance multihance magnevist "
    "omniscan dotagraf pos post postcon with mit avec con dyn dynamic dynamique dynamisch "
    "dinamica dinamico postcontrast postgado postgd km kontrast kontrastmittel nachkm contrast "
    "contraste contrasto mdc ce inj injected injecte injection gadolinio cm pc iv enhanced "
    "postkm inyeccion iniezione injecao injektion pdc civ"
)
_CONTRAST_SIGN: Final = re.compile(r"\+\s*(?:c|km|gd|k)\b|\b(?:c|km)\s*\+|\bt1w?i?c\b|\bc/(?:c|gd)")
"""`+C`, `KM +`, `T1C` and the Spanish `c/c`, with contrast (`s/c` is without)."""
_CONTRAST_STEMS: Final = ("gad", "contrast", "kontrast")

SURGERY: Final = _words("op operative operativ operatorio operatoire surgery surgical")
NO_CONTRAST: Final = _words(
    "vor before avant antes prima voor ohne without sans sin senza sem zonder wo o no non pre "
    "nativ native natif nativo plain"
)

LUMBAR: Final = _words(
    "lumbar lumbal lumbaal lombaire lombare lumbare lombar lumbale lspine ls lws lwk lwz lsp "
    "lumb lumbosacral lumbosacra lumbosakral lumbosacrale lombosacre lombosacrale lendenwirbel "
    "lendenwirbelsaule lendenwirbelsaeule lendenwervelkolom lumbo lumbalwirbelsaule rugpoli "
    "lombes lsws lss sspine thoracolumbar dorsolumbar dorsolombaire dorsolombare lombossacra "
    "lombossacral lumbosacro"
)
OTHER_REGION: Final = _words(
    "brain head kopf schadel schaedel cerebro cerebral cerebrale cranio craneo crane cerveau "
    "hersenen hirn neurocranium encefalo testa cabeza hoofd pituitary hypophyse orbit orbita iac "
    "knee knie genou rodilla ginocchio joelho shoulder schulter epaule hombro spalla ombro "
    "schouder hip hufte huefte hanche cadera anca heup ankle sprunggelenk cheville tobillo "
    "caviglia enkel wrist handgelenk poignet elbow ellenbogen foot fuss hand abdomen bauch liver "
    "leber foie higado fegato mrcp prostate prostata pelvis becken breast mamma heart cardiac "
    "herz kidney niere neck hals thorax chest cspine tspine cervical cervicale zervikal hws bws "
    "thoracic thorakal dorsal dorsale hwk halswirbelsaule halswirbelsaeule brustwirbelsaule "
    "brustwirbelsaeule cwk twk bwk kidneys knees hips renal lung lungs uterus rectum bladder "
    "sacrum coccyx dspine cerv toracica toracico toracal cervico cervicothoracic encephale "
    "cuello collo pescoco mao mano muneca punho polso codo cotovelo gomito coude elleboog bekken "
    "bacino bassin sacroiliac isg iliosacral iliosakral cervicaal thoracaal dorsaal"
)

TRANSITIONAL: Final = _words(
    "lstv ltv castellvi bertolotti transitional transitionnel transitionnelle transicional "
    "transizionale ubergangswirbel uebergangswirbel overgangswervel"
)
TRANSITIONAL_STEMS: Final = (
    *("sacralisa", "sacralise", "sacraliz", "sakralisa", "sakralisi"),
    *("lumbarisa", "lumbarise", "lumbarisi", "lumbariz", "lumbaliz", "lumbalisa", "lumbalisi"),
    *("lumbalise", "lombarisa", "lombarise", "lombarisi", "lombariz", "lombaliz", "lombalisa"),
)
"""Not `lumbaris`: that is Latin for lumbar."""
TRANSITION: Final = frozenset({"transition", "transicion", "transizione", "transicao"})
VERTEBRA_STEMS: Final = ("vertebr", "wirbel", "wervel")
"""`transition` alone usually means a junction of regions; with a vertebra it is an anomaly."""

METAL: Final = _words(
    "screw screws schraube schrauben tornillo tornillos parafuso parafusos viti schroef schroeven "
    "hardware osteosynthesis osteosynthese osteosintesis osteosintesi spondylodesis spondylodese "
    "spondylodeses spondilodesi espondilodesis espondilodese arthrodesis arthrodese artrodesis "
    "artrodesi artrodese titane titanio titanium titaan instrumented instrumentation "
    "instrumentiert instrumentacion instrumentacao"
)
METAL_STEMS: Final = ("metal",)
_REMOVAL: Final = "entfern"
"""`Metallentfernung`: the metal was removed."""

METAL_SEQUENCES: Final = ("semac", "mavric", "warp")
"""Vendor names of metal artefact reduction; `mars` is matched alone: it is also a month."""

NEGATIONS: Final = _words(
    "no not without ohne kein keine sans pas sin sem senza nessun nessuna zonder geen non"
)
_BREAK: Final = re.compile(r"[,;:.()\[\]\n]")
"""A negation does not extend across these."""

SAGITTAL: Final = _words("sag sagittal sagital sagittale sagittaal sagitt osag sagc sagitales")
AXIAL: Final = _words(
    "ax axial axiale axiaal oax tra trans transversal transversale transverse transversaal trs "
    "axc transv axi asse assiale assiali axiales axiaux"
)
CORONAL: Final = _words("cor coronal koronar coronale coronaal frontal ocor")

_BEFORE: Final = (
    r"(?:o?sag(?:ittal)?|o?ax(?:ial)?|tra(?:ns)?|trs|cor|fs|cs|[se](?=t)|tse|fse|frfse|3d|2d)*"
)
_AFTER: Final = (
    r"(?:wi|w|weighted|gew|tse|fse|frfse|se|sagittal|sag|trans|tra|axial|ax|cor|trs|flair|stir|"
    r"tirm|tir|fs|fatsat|space|spc|cube|vista|view|blade|propeller|warp|dixon|hr|haste|sense|rst|"
    r"spair|spir|\d(?<=[a-z]\d))*c?"
)
_WEIGHTING: Final = re.compile(rf"{_BEFORE}t([12]){_AFTER}")


def tokens(text: str) -> tuple[str, ...]:
    """Lower-case words without accents; `t2*` keeps its star."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return tuple(_TOKEN.findall("".join(c for c in plain if not unicodedata.combining(c))))


def texts_of(acquisition: Acquisition) -> tuple[str, ...]:
    """The free texts about the series itself, the most specific first."""
    return tuple(t for t in (acquisition.series_description, acquisition.protocol_name) if t)


def t_weightings(words: tuple[str, ...]) -> frozenset[int]:
    """1 and 2 for the T1 and T2 that the tokens name; `T12` and `T1-T5` are vertebrae."""
    return frozenset(int(m[1]) for w in words if (m := _WEIGHTING.fullmatch(w)))


def nulls_fluid(words: tuple[str, ...]) -> bool:
    """Whether FLAIR is named, by whichever vendor."""
    dark = ("dark", "fluid") in pairwise(words) or "darkfluid" in words
    return dark or any("flair" in word for word in words)


def transitional(text: str) -> str | None:
    """The token that names a transitional vertebra; None where there is none."""
    found = tokens(text)
    for index, word in _not_negated(text):
        near = found[max(0, index - 2) : index + 3]
        named = word in TRANSITIONAL or word.startswith(TRANSITIONAL_STEMS)
        named |= word in TRANSITION and any(other.startswith(VERTEBRA_STEMS) for other in near)
        if named:
            return word
    return None


def metal(text: str) -> str | None:
    """The token that names metal or an implant in the spine; None where there is none."""
    for _, word in _not_negated(text):
        if word in METAL or (word.startswith(METAL_STEMS) and _REMOVAL not in word):
            return word
    return None


def metal_sequence(text: str) -> str | None:
    """The token that names a metal artefact reduction sequence; None where there is none."""
    for word in tokens(text):
        if word == "mars" or any(name in word for name in METAL_SEQUENCES):
            return word
    return None


def _not_negated(text: str) -> Iterator[tuple[int, str]]:
    """The tokens without a negation shortly before them, with their index in `tokens`."""
    index = 0
    for clause in _BREAK.split(text):
        words = ("", "", *tokens(clause))
        for negation, between, word in zip(words, words[1:], words[2:], strict=False):
            # `without contrast` does not negate the word after it.
            negated = negation in NEGATIONS and not _names_agent(between)
            if not negated and between not in NEGATIONS:
                yield index, word
            index += 1


def _names_agent(word: str) -> bool:
    return word in CONTRAST or word.startswith(_CONTRAST_STEMS)


def dixon_words(words: tuple[str, ...]) -> frozenset[str]:
    """All tokens if one names a Dixon technique: another one then names the image type."""
    return frozenset(words) if DIXON & frozenset(words) else frozenset()


def names_contrast(text: str) -> bool:
    """Whether a text says that a contrast agent was given."""
    found = tokens(text)
    words = set(found) - {a for a, b in pairwise(found) if a in ("pos", "post") and b in SURGERY}
    plain = text.casefold().replace("_", " ")
    named = any(map(_names_agent, words))
    return bool(named or _CONTRAST_SIGN.search(plain)) and not words & NO_CONTRAST
