r"""The vocabulary of series descriptions, in the languages and codes they come in.

Descriptions are tokenised rather than searched: `\b` does not split at an underscore,
and `fat` means one thing in `FAT: Ax T2 FSE Flex` and another in `t2_tse_fatsat`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from worker.nouns.study import Acquisition


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN: Final = re.compile(r"[a-z0-9]+\*?")

LOCALISER: Final = _words(
    "loc localizer localiser localizers lokalizer lokalisator localisateur localizador "
    "localizzatore scout survey surview topogram posdisp plan planning reperage reperes "
    "cal calibration smartbrain 3plane planloc scanogram"
)
GRADIENT_ECHO: Final = _words(
    "medic merge merged gre ge2d ffe mffe btfe flash vibe fisp truefi trufi trufisp fiesta ciss "
    "dess swi spgr fspgr lava thrive cosmic t2* t2star t2s hemo mprage tfe bravo"
)
DIFFUSION: Final = _words(
    "dwi diff diffusion difusion diffusione dti adc trace tracew epi ep2d dwibs ivim bold "
    "perf perfusion dce dsc resolve"
)
RECONSTRUCTION: Final = _words(
    "mip minip mpr projection reformat reformatted subtraction sub subtracted screen screensave "
    "screenshot capture report map t1map t2map key keyimages"
)
MYELOGRAPHY: Final = _words(
    "myelo myelogram myelography myelographie myelografie mielografia myelogramm mielo mrm "
    "myelogr mielorm"
)
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
    "sf fatsuppr dixonw chess proset"
)
STIR: Final = _words("stir tirm tir irtse irfse")
PROTON_DENSITY: Final = _words("pd pdw pdwi dp proton rho protonendichte")

CONTRAST: Final = _words(
    "gd gad gado gadolinium gadovist dotarem post postcontrast postgado postgd km kontrast "
    "kontrastmittel nachkm contrast contraste contrasto mdc ce inj injected injecte injection "
    "gadolinio cm pc iv enhanced postkm"
)
NO_CONTRAST: Final = _words(
    "ohne without sans sin senza sem zonder wo o no non pre nativ native natif nativo plain"
)

LUMBAR: Final = _words(
    "lumbar lumbal lumbaal lombaire lombare lumbare lombar lumbale lspine ls lws lwk lwz lsp "
    "lumb lumbosacral lumbosacra lumbosakral lumbosacrale lombosacre lombosacrale lendenwirbel "
    "lendenwirbelsaule lendenwirbelsaeule lendenwervelkolom lumbo lumbalwirbelsaule rugpoli "
    "lombes lsws lss"
)
OTHER_REGION: Final = _words(
    "brain head kopf schadel schaedel cerebro cerebral cerebrale cranio craneo crane cerveau "
    "hersenen hirn neurocranium encefalo testa cabeza hoofd pituitary hypophyse orbit orbita iac "
    "knee knie genou rodilla ginocchio joelho shoulder schulter epaule hombro spalla ombro "
    "schouder hip hufte huefte hanche cadera anca heup ankle sprunggelenk cheville tobillo "
    "caviglia enkel wrist handgelenk poignet elbow ellenbogen foot fuss hand "
    "abdomen bauch liver leber foie higado fegato mrcp prostate prostata pelvis becken breast "
    "mamma heart cardiac herz kidney niere neck hals thorax chest "
    "cspine tspine cervical cervicale zervikal hws bws thoracic thorakal dorsal dorsale hwk "
    "halswirbelsaule halswirbelsaeule brustwirbelsaule brustwirbelsaeule cwk twk bwk "
    "sacroiliac isg iliosacral iliosakral "
    "cervicaal thoracaal dorsaal"
)

SAGITTAL: Final = _words("sag sagittal sagital sagittale sagittaal sagitt osag sagc sagital")
AXIAL: Final = _words(
    "ax axial axiale axiaal oax tra trans transversal transversale transverse transversaal trs "
    "axc transv axi asse assiale"
)
CORONAL: Final = _words("cor coronal koronar coronale coronaal frontal ocor")

_BEFORE: Final = r"(?:o?sag|o?ax|tra|trs|cor|fs|cs)*"
_AFTER: Final = (
    r"(?:wi|w|weighted|gew|tse|fse|frfse|se|sag|tra|ax|cor|trs|flair|stir|tirm|tir|fs|fatsat|space|"
    r"spc|cube|vista|view|blade|propeller|warp|dixon|hr|haste|sense|rst|spair|spir|\d(?<=[a-z]\d))*c?"
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
    """1 and 2 for the T1 and T2 that the words name; `T12` and `T1-T5` are vertebrae."""
    return frozenset(int(m[1]) for w in words if (m := _WEIGHTING.fullmatch(w)))


def names_contrast(text: str) -> bool:
    """Whether a text says that a contrast agent was given."""
    words = set(tokens(text))
    plus = re.search(r"(?:\+\s*(?:c|km|gd|k)\b)|(?:\b(?:c|km)\s*\+)", text.casefold())
    return bool(plus or words & CONTRAST) and not words & NO_CONTRAST
