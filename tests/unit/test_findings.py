"""Findings are those of the target set that the card names."""

import pytest

from dicom_sr import targets
from dicom_sr.findings import TARGETS, Condition, NotAssessedReason, Report, targets_of
from worker.approaches import read_identity
from worker.domain.volume import Volumes
from worker.findings import all_not_assessed, findings_of
from worker.models.card import read_card

SET = "canal alone"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch):
    """The packaged card for another target set: the five targets of the canal."""
    canal = tuple(one for one in TARGETS if one.condition is Condition.SPINAL_CANAL_STENOSIS)
    monkeypatch.setitem(targets.TARGET_SETS, SET, canal)
    return read_card().model_copy(update={"target_set": SET})


def test_a_report_holds_the_targets_of_its_own_set(card) -> None:
    """Neither the other targets of the current set nor fewer."""
    reason = NotAssessedReason.NOT_LUMBAR
    requires = dict.fromkeys(Condition, frozenset())
    graded = findings_of(dict.fromkeys(TARGETS, reason), Volumes(), card, requires)
    for findings in (graded, all_not_assessed(reason, card)):
        assert tuple(one.target for one in findings) == targets_of(SET)
        report = Report("1.2", read_identity(), findings, target_set=SET)
        assert len(report.not_assessed) == 5
    with pytest.raises(ValueError, match="25 targets"):
        Report("1.2", read_identity(), graded)
