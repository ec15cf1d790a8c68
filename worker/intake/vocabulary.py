"""The vocabulary of series descriptions, in several languages and vendor codes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from worker.domain.study import Acquisition
from worker.intake.tokens import terms, tokens


def modality(code: str) -> str:
    """A modality for messages; a value that is not a DICOM term is hidden: it may be a name."""
    return code if code in _MODALITIES else "another modality" if code else "unknown"


_CODES: Final = (
    "AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC "
    "HD IO IOL IVOCT IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT "
    "PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN "
    "RTSTRUCT RWV SC SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC"
)
_MODALITIES: Final = frozenset(_CODES.split())
"""Defined terms of Modality (0008,0060), PS3.3 C.7.3.1.1.1."""

LOCALISER: Final = terms(
    "loc lok localisateur lokalisator localizzatore localizador locator survey surview "
    "topogram posdisp plan planung planning reperage reperes cal calibration smartbrain "
    "3plane 3pl planloc triplane triplano scanogram scano pilot piloto ubersicht uebersicht "
    "overzicht centratura centraje coilsurvey refscan shim prescan 定位像 定位 位置決め "
    "스카우트 топограмма локалайзер ανιχνευτικη kilavuz"
)
LOCALISER_STEMS: Final = ("scout", "localiz", "localis", "lokalis")
GRADIENT_ECHO: Final = terms(
    "medic merge merged gre gr2d ge2d ffe mffe bffe btfe flash vibe fisp truefi trufi "
    "truefisp trufisp fiesta ciss ciss3d dess swi spgr fspgr fgre lava thrive cosmic t2* "
    "t2star star t2s hemo mprage tfe bravo me2d me3d fl2d fl3d fe2d fe3d ssfp tof ge eg "
    "gradiente gradienten gradientenecho feldecho"
)
GRADIENT_PHRASES: Final = frozenset(
    {("echo", "gradient"), ("eco", "gradiente"), ("eco", "gradient"), ("gradient", "echo")}
)
"""First and third of three words, such as `écho de gradient`."""

DIFFUSION: Final = terms(
    "dwi diff diffusion difusion difusao diffusione diffusie dti adc dadc eadc trace tracew "
    "epi ep2d dwibs ivim bold perf perfusion dce dsc resolve"
)
B_VALUE: Final = re.compile(r"b\d{3,4}")
RECONSTRUCTION: Final = terms(
    "mip minip mpr mprs cpr projection reformat reformatted sub screen screensave screenshot "
    "capture report map maps mapping t1map t2map key keyimages"
)
SUBTRACTION_STEMS: Final = ("subtr", "substr", "sustr", "soustr", "sottr")
MYELOGRAPHY_STEMS: Final = ("myelo", "mielo")
DIXON: Final = terms("dixon mdixon flex ideal qdixon")
OPPOSED: Final = terms(
    "in opp op ip out inphase outphase opposed opposedphase inphaseflex outofphase opphase"
)
FAT_IMAGE_FOLLOWERS: Final = terms(
    "sat saturated saturation saturacion sup supp suppr suppressed suppression unterdruckung "
    "unterdrueckung saturato soppressa saturada"
)
FAT_SUPPRESSED: Final = terms(
    "fs fatsat fsat fatsup fatsupp spir spair fett fettgesattigt fettsat spectralfatsat "
    "satfat sf fatsuppr dixonw chess proset grasa graisse gordura grasso vetsuppressie "
    "vetverzadiging fettsattigung fettsaettigung fettunterdruckung fettunterdrueckung 压脂 "
    "抑脂 脂肪抑制"
)
STIR: Final = terms("stir tirm tir irtse irfse fir")
PROTON_DENSITY: Final = terms("pd pdw pdwi pdfs dp proton rho protonendichte")

LUMBAR: Final = terms(
    "lumbar lumbal lumbaal lombaire lombare lumbare lombar lumbale lspine ls lws lwk lwz lsp "
    "lumb lumbosacral lumbosacra lumbosakral lumbosacrale lombosacre lombosacrale "
    "lendenwirbel lendenwirbelsaule lendenwirbelsaeule lendenwervelkolom lumbo "
    "lumbalwirbelsaule rugpoli lombes lsws lss sspine thoracolumbar dorsolumbar dorsolombaire "
    "dorsolombare lombossacra lombossacral lumbosacro lomber lumbosacralis bel 腰椎 腰骶椎 "
    "腰骶 腰仙椎 腰薦椎 腰髓 腰部 요추 요천추 허리 пояснично поп ομσσ قطنيه قطنية القطنية "
    "القطنيه"
)
_LUMBAR_STEMS: Final = tuple(sorted(terms("пояснич οσφυικ οσφυο القطن قطني")))
OTHER_REGION: Final = terms(
    "brain head kopf schadel schaedel cerebro cerebral cerebrale cranio craneo crane cerveau "
    "hersenen hirn neurocranium encefalo testa cabeza hoofd pituitary hypophyse orbit orbita "
    "iac knee knie genou rodilla ginocchio joelho shoulder schulter epaule hombro spalla "
    "ombro schouder hip hufte huefte hanche cadera anca heup ankle sprunggelenk cheville "
    "tobillo caviglia enkel wrist handgelenk poignet elbow ellenbogen foot fuss hand abdomen "
    "bauch liver leber foie higado fegato mrcp prostate prostata pelvis becken breast mamma "
    "heart cardiac herz kidney niere neck hals thorax chest cspine tspine cervical cervicale "
    "zervikal hws bws thoracic thorakal dorsal dorsale hwk halswirbelsaule halswirbelsaeule "
    "brustwirbelsaule brustwirbelsaeule cwk twk bwk kidneys knees hips renal lung lungs "
    "uterus rectum bladder sacrum coccyx dspine cerv toracica toracico toracal cervico "
    "cervicothoracic encephale cuello collo pescoco mao mano muneca punho polso codo cotovelo "
    "gomito coude elleboog bekken bacino bassin sacroiliac isg iliosacral iliosakral "
    "cervicaal thoracaal dorsaal 头部 头颅 颅脑 大脑 脑 頭部 頭頸 脳 大脳 腦 颈椎 頚椎 頸椎 "
    "颈 胸椎 胸部 膝关节 膝関節 膝 肩关节 肩関節 肩 髋关节 髖關節 股関節 髋 骨盆 骨盤 盆腔 "
    "腹部 踝关节 足関節 踝 腕关节 手関節 腕 肘关节 肘関節 肘 前列腺 前立腺 乳腺 肝脏 肝臓 肝 "
    "心脏 心臓 뇌 두부 경추 흉추 무릎 슬관절 어깨 견관절 고관절 골반 복부 발목 손목 전립선 "
    "유방 шоп гоп таза таз кисть кисти αμσσ θμσσ beyin kafa diz omuz kalca boyun servikal "
    "torakal batin karin dirsek meme karaciger prostat"
)
_OTHER_REGION_STEMS: Final = tuple(
    sorted(
        terms(
            "головн коленн плечев тазобедр шейн грудн брюшн голеностоп лучезапяст локтев "
            "предстат молочн печен "
            "εγκεφαλ γονατ ωμου αυχεν θωρακ λεκαν κοιλι ισχι ποδοκνημ προστατ μαστ "
            "دماغ الدماغ راس الراس ركبة الركبة ركبه الركبه كتف الكتف عنقي العنقي صدري الصدري حوض "
            "الحوض بطن البطن ورك الورك كاحل الكاحل معصم المعصم"
        )
    )
)

SAGITTAL: Final = terms(
    "sag sagittal sagital sagittale sagittaal sagitt osag sagc sagitales 矢状位 矢状面 矢状 "
    "矢狀 시상 сагиттальная"
)
AXIAL: Final = terms(
    "ax axial axiale axiaal oax tra trans transversal transversale transverse transversaal "
    "trs axc transv axi asse assiale assiali axiales axiaux aksiyel 轴位 軸位 横断 橫斷 轴状 "
    "水平断 축상 횡단 аксиальная"
)
CORONAL: Final = terms(
    "cor coronal koronar coronale coronaal frontal ocor 冠状位 冠状面 冠状 冠狀 관상 корональная"
)

_BEFORE: Final = (
    r"(?:o?sag(?:ittal)?|o?ax(?:ial)?|tra(?:ns)?|trs|cor|fs|cs|[se](?=t)|tse|fse|frfse|3d|2d)*"
)
_AFTER: Final = (
    r"(?:wi|w|weighted|gew|tse|fse|frfse|se|sagittal|sag|trans|tra|axial|ax|cor|trs|flair|stir|"
    r"tirm|tir|fs|fatsat|space|spc|cube|vista|view|blade|propeller|warp|dixon|hr|haste|sense|rst|"
    r"spair|spir|\d(?<=[a-z]\d))*c?"
)
_WEIGHTING: Final = re.compile(rf"{_BEFORE}t([12]){_AFTER}")


def texts_of(acquisition: Acquisition) -> tuple[str, ...]:
    """The free texts about the series itself, the most specific first."""
    return tuple(t for t in (acquisition.series_description, acquisition.protocol_name) if t)


def lumbar(words: Iterable[str]) -> set[str]:
    """The words that name the lumbar spine."""
    return {word for word in words if word in LUMBAR or word.startswith(_LUMBAR_STEMS)}


def other_region(words: Iterable[str]) -> set[str]:
    """The words that name another part of the body."""
    return {
        word
        for word in words
        if word in OTHER_REGION or (word.startswith(_OTHER_REGION_STEMS) and not lumbar([word]))
    }


def t_weightings(words: tuple[str, ...]) -> frozenset[int]:
    """1 and 2 for the T1 and T2 that the tokens name; `T12` and `T1-T5` are vertebrae."""
    return frozenset(int(m[1]) for w in words if (m := _WEIGHTING.fullmatch(w)))


def nulls_fluid(words: tuple[str, ...]) -> bool:
    """Whether FLAIR is named, by whichever vendor."""
    dark = ("dark", "fluid") in pairwise(words) or "darkfluid" in words
    return dark or any("flair" in word for word in words)


def dixon_words(words: tuple[str, ...]) -> frozenset[str]:
    """All tokens if one names a Dixon technique: another one then names the image type."""
    return frozenset(words) if DIXON & frozenset(words) else frozenset()


def region_words(text: str) -> set[str]:
    """The tokens of a text, with `C-Spine` and `L Spine` as one token."""
    split = tokens(text)
    joined = {a + b for a, b in pairwise(split) if b == "spine" and len(a) == 1}
    # `decúbito dorsal` is the patient position (supine).
    lying = {b for a, b in pairwise(split) if a.startswith("decubit")}
    return {*split, *joined} - lying
