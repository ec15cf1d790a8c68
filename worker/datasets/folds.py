"""The one fold rule, and whether a fold can be trained and judged on at all."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from dicom_sr.findings import Severity
from worker.errors import BadSettings


def fold_of(study_id: str, folds: int) -> int:
    """The fold of a study: crc32 of its id, the one rule for all sets (patient-grouped)."""
    return zlib.crc32(study_id.encode()) % folds


def check_fold(
    what: str,
    fold: int,
    folds: int,
    studies: Sequence[str],
    grades: Mapping[str, Sequence[Severity | None]] | None = None,
) -> None:
    """Raise BadSettings where training on all folds but one, and judging on it, cannot work.

    `what` names the samples in the message. `studies` holds the study of each sample,
    `grades` the grade of each sample for every target (None where it has none); both the
    fold and the rest must hold samples, and of every target an example of each severity.
    """
    if not 0 <= fold < folds or folds < 2:
        raise BadSettings(f"{what}: there is no fold {fold} of {folds}; name one of 0 to folds - 1")
    inside = [fold_of(study, folds) == fold for study in studies]
    for is_fold, part in (
        (True, f"fold {fold} of {folds}"),
        (False, f"all but fold {fold} of {folds}"),
    ):
        chosen = [i for i, here in enumerate(inside) if here is is_fold]
        if not chosen:
            raise BadSettings(
                f"{what}: {part} holds no sample ({len(set(studies))} studies in all); "
                "add studies or use fewer folds"
            )
        for target, labels in (grades or {}).items():
            found = {labels[i] for i in chosen}
            if lacking := [severity.label for severity in Severity if severity not in found]:
                raise BadSettings(
                    f"{what}: {part} holds no {' and no '.join(lacking)} {target} "
                    f"among {len(chosen)} samples; add studies or use fewer folds"
                )
