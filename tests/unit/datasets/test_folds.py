"""The fold rule, and the check before a training."""

import pytest

from dicom_sr.findings import Severity
from worker.datasets.folds import check_fold, fold_of
from worker.errors import BadSettings

STUDIES = [str(n) for n in range(60) for _ in Severity]
GRADES = list(Severity) * 60


def test_every_study_lies_in_one_of_the_folds_and_none_is_empty() -> None:
    """The rule gives each study a fold below the number of folds, and uses all of them."""
    assert {fold_of(study, 3) for study in STUDIES} == {0, 1, 2}


def test_the_rule_never_changes() -> None:
    """Folds are crc32 of the id: shipped bundles depend on it."""
    assert [fold_of(study, 3) for study in ("1002894806", "4003253")] == [0, 2]


def test_a_fold_with_everything_passes() -> None:
    """Samples and every severity on both sides of the split raise nothing."""
    for fold in range(3):
        check_fold("crops", fold, 3, STUDIES, {"canal": GRADES})
        check_fold("points", fold, 3, STUDIES)


def test_an_empty_fold_is_named() -> None:
    """A fold without a study is an error that names it."""
    studies = [study for study in STUDIES if fold_of(study, 3) != 1]
    with pytest.raises(BadSettings, match="crops: fold 1 of 3 has no sample"):
        check_fold("crops", 1, 3, studies)
    with pytest.raises(BadSettings, match="all but fold 0 of 3 has no sample"):
        check_fold("crops", 0, 3, [s for s in STUDIES if fold_of(s, 3) == 0])


def test_a_class_without_an_example_is_named() -> None:
    """A severity that the fold lacks is an error that names fold, severity and target."""
    grades = [
        None if grade is Severity.SEVERE and fold_of(study, 3) == 1 else grade
        for study, grade in zip(STUDIES, GRADES, strict=True)
    ]
    check_fold("crops", 0, 3, STUDIES, {"canal": grades})
    with pytest.raises(BadSettings, match="fold 1 of 3 has no Severe canal"):
        check_fold("crops", 1, 3, STUDIES, {"canal": grades})


@pytest.mark.parametrize(("fold", "folds"), [(3, 3), (-1, 3), (0, 1)])
def test_a_fold_that_cannot_be_is_refused(fold: int, folds: int) -> None:
    """A fold outside the split, or a split into one, is a setting that cannot work."""
    with pytest.raises(BadSettings, match="invalid fold"):
        check_fold("crops", fold, folds, STUDIES)
