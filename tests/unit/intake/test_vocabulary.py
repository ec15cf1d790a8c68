"""Words of descriptions in many languages: contrast, implants, vertebrae, regions."""

import pytest

from worker.intake import anatomy_words, contrast, negation, tokens, vocabulary
from worker.intake.anatomy_words import metal, transitional
from worker.intake.contrast import agent_given, names_contrast

NO_AGENT = [
    "NO CONTRAST",
    "NONE",
    "No",
    "N",
    "0",
    "0 ml",
    "NOT APPLIED",
    "WITHOUT",
    "W/O",
    "W/O CONTRAST",
    "WITHOUT CONTRAST",
    "OHNE",
    "OHNE KM",
    "KEIN KM",
    "nativ",
    "NATIVE",
    "SANS",
    "SANS INJECTION",
    "SANS PRODUIT DE CONTRASTE",
    "NON INJECTE",
    "SIN CONTRASTE",
    "NINGUNO",
    "AUCUN",
    "NESSUNO",
    "SENZA MDC",
    "SEM CONTRASTE",
    "GEEN",
    "GEEN CONTRAST",
    "ZONDER",
    "UNENHANCED",
    "NON-CONTRAST",
    "NONCONTRAST",
    "PLAIN",
    "N/A",
    "NA",
    "NOT GIVEN",
    "NIL",
    "KM-frei",
    "-",
    "--",
    ".",
    "UNKNOWN",
    "无",
    "无造影剂",
    "造影なし",
    "なし",
    "조영제 없음",
    "비조영",
    "без контраста",
    "нет",
    "χωρίς σκιαγραφικό",
    "kontrastsız",
    "KONTRASTSIZ",
    "بدون صبغة",
    "NO GADOLINIUM",
    "No Gadovist",
    "none given",
    "W/O GAD",
    "keine Kontrastmittelgabe",
    "ohne Kontrastmittel",
    "contrast: no",
    "Contrast none",
    "o. KM",
    "no IV contrast",
]

AGENT = [
    "GADOVIST",
    "Dotarem 15 ml",
    "yes",
    "KM",
    "MultiHance 0.1 mmol/kg",
    "Gadoterate meglumine",
    "contrast",
    "IV",
    "ja",
    "Gadavist 10ml no reaction",
    "造影剤",
    "增强",
    "조영제",
    "контраст",
    "Gd-DTPA",
    "ProHance",
    "with contrast",
    "mit KM",
]

PLAIN = [
    "SAG T1",
    "SAG T1 (enhanced conversion)",
    "T1 sag edge enhanced",
    "Sag T1 DL enhanced",
    "T1 FOV 28 cm",
    "T1 with FOV 28",
    "SAG T1 with sat band",
    "T1 sag mit Sättiger",
    "T1 SAG KM-frei",
    "T1 sag post laminectomy",
    "SAG T1 PRE",
    "T1 sag pre gad",
    "T1 SAG WITHOUT CONTRAST",
    "T1 sag ohne KM",
    "T1 sans injection",
    "T1 sag sin contraste",
    "T1 SAG W/O",
    "T1 nativ",
    "T1 s/c",
    "T1 non contrast",
    "SAG T1 unenhanced",
    "T1 sag vor KM",
    "T1 senza mezzo di contrasto",
    "T1 sag sem contraste",
    "T1矢状位平扫",
    "T1 矢状 造影なし",
    "T1 시상 조영전",
    "T1 саг без контраста",
    "T1 kontrastsız",
    "T1 χωρίς σκιαγραφικό",
    "T1 بدون صبغة",
    "T1 TSE SAG 4mm",
    "T1 sag -C",
    "T1 SAG post op",
    "T1 non-enhanced",
    "Sag T1 FSE post trauma",
    "T1 sag contrast free",
    "T1 SAG no gad",
    "T1 20 cm",
    "Sag T1 image enhanced",
    "t1_tse_sag_320_natif",
    "T1 Sag avant injection",
    "T1 sagittal before contrast",
    "T1 W/O CONTRAST",
    "T1 phase contrast off",
]

AFTER_CONTRAST = [
    "SAG T1 - GD",
    "t1 s KM",
    "SAG T1 POST",
    "SAG T1 +C",
    "T1 sag KM",
    "T1 fs post gad",
    "T1 no FS post gad",
    "T1 sag mit KM",
    "T1C",
    "T1 avec injection",
    "T1 con contraste",
    "T1 c/c",
    "SAG T1 WITH",
    "T1 post contrast",
    "T1 nach KM",
    "SAG T1 GAD",
    "T1 SAG CE",
    "T1 sag enhanced",
    "T1 con gadolinio",
    "T1 dopo mdc",
    "T1 sag pós contraste",
    "T1矢状位增强",
    "T1 造影後",
    "造影T1",
    "T1 조영증강",
    "T1 с контрастом",
    "T1 kontrastlı",
    "T1 με σκιαγραφικό",
    "T1 بالصبغة",
    "T1 dynamic",
    "T1 SAG POST GD FS",
    "T1 sag contrast enhanced",
    "T1 SAG W GAD",
    "T1 SAG W/ CONTRAST",
    "+K T1 sag",
    "T1 IV",
    "T1 cm",
    "T1 mit Kontrastmittel ohne FS",
    "T1 ohne FS mit KM",
    "post T1 sag",
]

OPERATED = [
    "MRI LUMBAR SPINE S/P FUSION L4-L5",
    "TLIF L4/5",
    "PLIF",
    "ALIF L5-S1",
    "XLIF",
    "rods",
    "cage",
    "pedicle screws",
    "Implantat",
    "Versteifung L4/5",
    "IRM lombaire, vis L5",
    "protesi discale",
    "prothèse discale",
    "MRI lumbar fusion hardware",
    "Z.n. Spondylodese",
    "artrodesis",
    "fused L4-5",
    "hardware failure?",
    "rule out hardware failure",
    "MRI lumbar W/O contrast fusion",
    "no acute fracture, fusion L4",
    "腰椎 内固定术后",
    "スクリュー固定術後",
    "나사 고정술",
    "спондилодез L4",
    "металлоконструкция",
    "σπονδυλοδεσία",
    "vida L4",
    "MRT LWS ohne KM Spondylodese",
    "LWS stabilisierung dorsal",
    "without and with contrast post fusion",
]

NOT_OPERATED = [
    "MRI lumbar",
    "no fusion",
    "without hardware",
    "W/O HARDWARE",
    "no fusion or hardware",
    "no prior fusion",
    "no screws",
    "ohne Implantat",
    "kein Metall",
    "sans matériel métallique",
    "image fusion",
    "PET/MR fusion",
    "pre fusion",
    "prior to fusion",
    "vor Spondylodese",
    "Metallentfernung",
    "hardware removed",
    "sin artrodesis",
    "senza protesi",
    "metal free",
    "no metal",
    "perfusion",
    "before fusion",
    "no evidence of fusion",
    "confusion",
    "fracture",
    "нет металла",
    "geplante Spondylodese",
    "w/o fusion or hardware",
    "no implants",
]

TRANSITIONAL = [
    "L6",
    "six lumbar vertebrae",
    "6 lumbar type vertebrae",
    "L6-S1 stenosis",
    "sechs Lendenwirbel",
    "LSTV",
    "seis vértebras lumbares",
    "6 vertèbres lombaires",
    "sei vertebre lombari",
    "zes lendenwervels",
    "4 lumbar vertebrae",
    "sacralized L5",
    "lumbarized S1",
    "移行椎",
    "сакрализация L5",
    "sixth lumbar vertebra",
]

USUAL = [
    "no L6",
    "5 lumbar vertebrae",
    "no transitional vertebra",
    "4 mm lumbar",
    "6 slices lumbar",
    "lumbar 4 series",
    "T2 6 min lumbar spine",
    "five lumbar",
    "no LSTV",
]

LUMBAR = [
    "腰椎MRI",
    "腰仙椎",
    "요추 MRI",
    "МРТ пояснично-крестцового отдела",
    "ΜΑΓΝΗΤΙΚΗ ΟΜΣΣ",
    "οσφυϊκή μοίρα",
    "الفقرات القطنية",
    "lomber vertebra",
    "LUMBAL",
]
ELSEWHERE = [
    "头部MRI",
    "膝关节",
    "頭部",
    "頸椎",
    "뇌 MRI",
    "무릎",
    "МРТ коленного сустава",
    "головной мозг",
    "шейный отдел",
    "εγκέφαλος",
    "αυχενική μοίρα",
    "الركبة",
    "الدماغ",
    "beyin",
    "DİZ",
    "brain",
]


@pytest.mark.parametrize("value", NO_AGENT)
def test_a_console_says_that_no_agent_was_given(value: str) -> None:
    """Contrast/Bolus Agent holds a denial."""
    assert not agent_given(value)


@pytest.mark.parametrize("value", AGENT)
def test_a_console_names_an_agent(value: str) -> None:
    """Whatever is not a denial is an agent."""
    assert agent_given(value)


@pytest.mark.parametrize("text", PLAIN)
def test_a_description_names_no_contrast(text: str) -> None:
    """Denials, and words that only resemble an agent."""
    assert not names_contrast(text)


@pytest.mark.parametrize("text", AFTER_CONTRAST)
def test_a_description_names_contrast(text: str) -> None:
    """Also where another word of the text is denied."""
    assert names_contrast(text)


@pytest.mark.parametrize("text", OPERATED)
def test_a_description_names_an_operated_spine(text: str) -> None:
    """Implants and fusions."""
    assert metal(text)


@pytest.mark.parametrize("text", NOT_OPERATED)
def test_a_denied_or_planned_operation_is_none(text: str) -> None:
    """So is a fusion of images."""
    assert metal(text) is None


@pytest.mark.parametrize("text", TRANSITIONAL)
def test_a_description_names_an_unusual_vertebra(text: str) -> None:
    """Transitional vertebrae, and four or six of them."""
    assert transitional(text)


@pytest.mark.parametrize("text", USUAL)
def test_a_number_beside_lumbar_is_no_count(text: str) -> None:
    """Five vertebrae, denials, and numbers of other things."""
    assert transitional(text) is None


@pytest.mark.parametrize("text", LUMBAR)
def test_the_lumbar_spine_in_many_scripts(text: str) -> None:
    """Named as lumbar, and as nothing else."""
    words = tokens.tokens(text)
    assert vocabulary.lumbar(words)
    assert not vocabulary.other_region(words)


@pytest.mark.parametrize("text", ELSEWHERE)
def test_another_region_in_many_scripts(text: str) -> None:
    """Named as another region, and not as lumbar."""
    words = tokens.tokens(text)
    assert vocabulary.other_region(words)
    assert not vocabulary.lumbar(words)


def test_scripts_are_separated() -> None:
    """Latin letters beside other scripts are words of their own, full-width letters are Latin."""
    assert tokens.tokens("T1增强矢状位") == ("t1", "增强", "矢状位")
    assert tokens.tokens("ＳＡＧ　Ｔ２") == ("sag", "t2")
    assert tokens.tokens("t2_tse_sag T2*") == ("t2", "tse", "sag", "t2*")
    assert tokens.tokens("KONTRASTSIZ kontrastsız") == ("kontrastsiz", "kontrastsiz")


@pytest.mark.parametrize("module", [anatomy_words, contrast, negation, vocabulary])
def test_every_term_is_one_word(module) -> None:
    """A term that `tokens` would split could never match."""
    for name, found in vars(module).items():
        if isinstance(found, frozenset) and name.lstrip("_").isupper() and name != "_MODALITIES":
            for term in found:
                if isinstance(term, str):
                    assert tokens.tokens(term) == (term,), f"{name}: {term}"
