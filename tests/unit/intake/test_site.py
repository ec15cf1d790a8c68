"""A site's own routing rules: what they decide, what they cannot, and the errors of their file."""

import re

import pytest

from dicom_sr.findings import NotAssessedReason
from worker.domain.study import Role
from worker.errors import BadSettings, NotLumbar
from worker.intake.exclusions import exclude
from worker.intake.headers import read_study
from worker.intake.routing import route
from worker.intake.site import load_site_rules


@pytest.fixture
def load(tmp_path):
    """The rules of a file with this text."""

    def loaded(text):
        file = tmp_path / "site.toml"
        file.write_text(text, encoding="utf-8")
        return load_site_rules(file)

    return loaded


STIR = """
[[rule]]
name = "our sagittal STIR"
description = "^SAG_IR_FS"
manufacturer = "siemens"
role = "sagittal_t2"
reason = "named by the console"
"""


def decide(make_series, site, plane="sagittal", count=15, **header):
    images = make_series(plane, "1.2.3.1", count, **header)
    beside = make_series("sagittal", "1.2.3.8", 5, SeriesDescription="T2")
    decisions = route(read_study([*images, *beside]), site).decisions
    return next(d for d in decisions if d.series_instance_uid == "1.2.3.1")


def test_a_rule_gives_a_role_and_its_name_stands_first(load, make_series):
    """Nothing else would know this description; the rule is the first evidence and the reason."""
    header = {"SeriesDescription": "sag_ir_fs_p2", "Manufacturer": "SIEMENS"}
    assert decide(make_series, (), **header).role is None
    decision = decide(make_series, load(STIR), **header)
    assert decision.role is Role.SAGITTAL_T2
    assert decision.reason == "by site rule 'our sagittal STIR': named by the console"
    assert decision.evidence[0].rule == "site rule 'our sagittal STIR'"
    assert decision.evidence[0].says == "sagittal_t2"


@pytest.mark.parametrize(
    "header",
    [
        {"SeriesDescription": "sag_ir_fs", "Manufacturer": "GE"},
        {"SeriesDescription": "new sag_ir_fs", "Manufacturer": "SIEMENS"},
        {"SeriesDescription": "sag_ir_fs"},
        {},
    ],
)
def test_every_condition_must_hold(load, make_series, header):
    """One condition that fails, or an attribute that is absent, and the rule is silent."""
    decision = decide(make_series, load(STIR), **header)
    assert decision.role is None
    assert not any("site" in evidence.rule for evidence in decision.evidence)


def test_other_conditions_and_the_first_match(load, make_series):
    """Body part, station and a range of series numbers count too; the first rule wins."""
    rules = load(
        '[[rule]]\nname = "research"\nstation = "MR2"\nbody_part = "spine"\n'
        'series_number = [900, 999]\nrole = "none"\nreason = "a study protocol"\n'
        '[[rule]]\nname = "rest"\nstation = "MR"\nrole = "sagittal_t1"\n'
    )
    header = {"SeriesDescription": "T2", "StationName": "MR2", "BodyPartExamined": "LSPINE"}
    out = decide(make_series, rules, SeriesNumber="950", **header)
    assert out.role is None
    assert out.reason == "by site rule 'research': a study protocol"
    for number in ("899", "1000", None):
        assert decide(make_series, rules, SeriesNumber=number, **header).role is Role.SAGITTAL_T1


def test_what_a_rule_overrides_is_flagged(load, make_series):
    """A site rule precedes the built-in rules, and the conflict is flagged."""
    rules = load('[[rule]]\nname = "odd"\ndescription = "odd"\nrole = "sagittal_t1"\n')
    physics = {"EchoTime": 100, "RepetitionTime": 3500}
    decision = decide(make_series, rules, SeriesDescription="odd", **physics)
    assert decision.role is Role.SAGITTAL_T1
    assert "T2 by TE 100 ms" in decision.flags[0]


@pytest.mark.parametrize(
    ("plane", "changes", "role", "why"),
    [
        ("axial", {}, Role.AXIAL_T2, "axial by orientation"),
        ("coronal", {}, None, "coronal by orientation"),
        ("sagittal", {"count": 3}, None, "too few slices: 3"),
        ("sagittal", {"ImageOrientationPatient": None}, None, "usable image plane"),
        ("sagittal", {"Modality": "SR"}, None, "not an image"),
    ],
)
def test_a_rule_that_geometry_denies_is_refused(load, make_series, plane, changes, role, why):
    """No rule turns a stack or makes images of what is none: flagged, and our rules decide."""
    rules = load('[[rule]]\nname = "all"\ndescription = "."\nrole = "sagittal_t2"\n')
    decision = decide(make_series, rules, plane, **{"SeriesDescription": "T2", **changes})
    assert decision.role is role
    assert "site rule 'all' gives the role sagittal_t2, ignored" in decision.flags[0]
    assert why in decision.flags[0]


@pytest.mark.parametrize(
    "header",
    [
        {"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
        {"Modality": "SR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"},
    ],
)
def test_what_is_no_mr_stays_none_where_a_rule_takes_its_role(load, make_series, header):
    """A site that turns away its CT and its reports has not made MR of them."""
    rules = load(
        '[[rule]]\nname = "x"\ndescription = "."\nrole = "none"\nreason = "none of ours"\n'
    )
    images = make_series("axial", "1.2.3.1", SeriesDescription="lumbar", **header)
    with pytest.raises(NotLumbar, match="no MR images"):
        route(read_study(images), rules)


def lift(condition, objections, role=""):
    return f'[[rule]]\nname = "ours"\n{condition}\ngrade_despite = {objections}\n{role}'


@pytest.mark.parametrize(
    ("objection", "reason", "header"),
    [
        ("metal", NotAssessedReason.METAL_ARTEFACT, {"SeriesDescription": "T2 SEMAC"}),
        ("metal", NotAssessedReason.METAL_ARTEFACT, {"StudyDescription": "LWS, Spondylodese"}),
        (
            "transitional vertebra",
            NotAssessedReason.TRANSITIONAL_ANATOMY,
            {"StudyDescription": "L-spine, LSTV?"},
        ),
        ("short stack", NotAssessedReason.NOT_LUMBAR, {"PixelSpacing": [1.5, 4.0]}),
    ],
)
def test_a_rule_lifts_what_excludes_a_study(load, make_series, objection, reason, header):
    """Only the objection that it names, and only for the series that it matches."""
    images = make_series("sagittal", "1.2.3.1", **{"SeriesDescription": "T2", **header})
    routed = route(read_study(images))

    def reasons(rules):
        return [exclusion.reason for exclusion in exclude(routed, site=rules).exclusions]

    condition = 'description = "t2"'
    assert reasons(()) == [reason]
    other = next(o for o in ("metal", "short stack") if o != objection)
    assert reasons(load(lift(condition, f'["{other}"]'))) == [reason]
    assert reasons(load(lift('description = "t1"', f'["{objection}"]'))) == [reason]
    assert reasons(load(lift(condition, f'["{other}", "{objection}"]'))) == []
    if "StudyDescription" in header:
        assert reasons(load(lift('study_description = "lws|lstv"', f'["{objection}"]'))) == []


def test_a_series_that_no_rule_matches_still_excludes(load, make_series):
    """The routine WARP protocol is graded, a series named after a fusion is not."""
    images = [
        *make_series("sagittal", "1.2.3.1", SeriesDescription="T2 WARP"),
        *make_series("sagittal", "1.2.3.2", SeriesDescription="T1 fusion L4/5"),
    ]
    rules = load(lift('description = "warp"', '["metal"]'))
    (exclusion,) = exclude(route(read_study(images), rules), site=rules).exclusions
    assert (exclusion.reason, "fusion" in exclusion.because) == (
        NotAssessedReason.METAL_ARTEFACT,
        True,
    )


def test_age_is_not_lifted(load):
    """What protects the patient has no name in the file."""
    with pytest.raises(BadSettings, match="grade_despite must be a list of: metal"):
        load(lift('station = "."', '["age"]'))


@pytest.mark.parametrize("role", ["", 'role = "sagittal_t2"\n'])
def test_a_rule_grades_few_slices(load, make_series, role):
    """With a role or without; the flag says what was lifted, and geometry still decides."""
    header = {"SeriesDescription": "T2 SAG", "count": 4}
    assert decide(make_series, (), **header).role is None
    rules = load(lift('description = "sag"', '["too few slices"]', role))
    decision = decide(make_series, rules, **header)
    assert decision.role is Role.SAGITTAL_T2
    assert "site rule 'ours' grades it despite too few slices: 4" in decision.flags[0]
    assert decide(make_series, rules, "coronal", **header).role is None


GOOD = 'name = "a"\ndescription = "x"\nrole = "axial_t2"\n'


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (f"[[rule]]\n{GOOD}\n[[rule]]\nname = 'b'\ndescripton = 'x'\n", 8, "key 'descripton'"),
        (f"[[rule]]\n{GOOD}rol = 'x'\n", 5, "unknown key 'rol'"),
        (f"\n[[ rule ]]\n{GOOD}station = '(' # open\n", 6, "not a valid regular expression"),
        ("[[rule]]\nname = 'b'\nrole = 'sagittal'\n", 3, "unknown role 'sagittal'"),
        (f"[[rule]]\n{GOOD}[[rule]]\nname = 'b'\nstation = 'x'\n", 5, "or a role: one of"),
        ("[[rule]]\nname = 'b'\nstation = 'x'\nrole = 'none'\n", 4, "needs a reason"),
        ("[[rule]]\nname = 'b'\nrole = 'axial_t2'\n", 1, "needs a condition"),
        ("# x\n[[rule]]\nstation = 'b'\nrole = 'axial_t2'\n", 2, "needs a name"),
        (f"[[rule]]\n{GOOD}[[rule]]\n{GOOD}", 6, "duplicate rule name 'a'"),
        (f"[[rule]]\n{GOOD}body_part = 3\n", 5, "must be a string"),
        (f"[[rule]]\n{GOOD}series_number = [9, 1]\n", 5, "first and the last"),
        (f"[[rule]]\n{GOOD}series_number = [true, 1]\n", 5, "first and the last"),
        (f"[[rule]]\n{GOOD}grade_despite = 'metal'\n", 5, "must be a list of: metal"),
        (f"[[rule]]\n{GOOD}[[rules]]\n", 5, "unknown key 'rules'"),
        (f"# x\n[rule]\n{GOOD}", 2, "as a [[rule]] table"),
        (f"[[rule]]\n{GOOD}station = \n", 5, "invalid TOML"),
        (f"[[rule]]\n{GOOD}name = 'twice'\n", 5, "invalid TOML"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(load, text, line, problem):
    """Each mistake names the file, the line to go to and what is wrong there."""
    with pytest.raises(BadSettings, match=re.escape(problem)) as error:
        load(text)
    assert "site.toml" in str(error.value)
    assert re.search(rf"line {line}\b", str(error.value)), str(error.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """No file and no text are settings to change, not defects."""
    with pytest.raises(BadSettings, match="cannot read site rules"):
        load_site_rules(tmp_path / "nothing.toml")
    (tmp_path / "site.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadSettings, match="not UTF-8"):
        load_site_rules(tmp_path / "site.toml")


def test_an_empty_file_has_no_rules(load):
    """A file of comments alone is a site without rules."""
    assert load("# nothing yet\n") == ()
