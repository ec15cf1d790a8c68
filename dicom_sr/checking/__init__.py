"""Checks an SR for problems with validators, viewers and `dicom_sr.reader`.

Each rule is a function from a `Subject` to its problems. No rule raises, however broken the
SR is. The rules are those of the Comprehensive SR IOD (PS3.3 A.35.3), of TID
1500, 1501 and 4019 (PS3.16), and of OHIF 3.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import text
from dicom_sr.checking import header, images, tree
from dicom_sr.checking.subject import Problem, Subject, error
from dicom_sr.errors import ReportError
from dicom_sr.reader import is_lumbar_report, read

__all__ = ["RULES", "Problem", "check"]

_SR_CLASSES: Final = "1.2.840.10008.5.1.4.1.1.88."


def reads_as_a_lumbar_report(sr: Subject) -> Iterator[Problem]:
    """An SR that identifies itself as a lumbar report is one, and is consistent."""
    if is_lumbar_report(sr.dataset):
        try:
            read(sr.dataset)
        except ReportError as problem:
            yield error("document", str(problem))


RULES: Final[tuple[Callable[[Subject], Iterator[Problem]], ...]] = (
    # header
    header.is_a_comprehensive_sr,
    header.has_its_attributes,
    header.has_valid_uids,
    header.has_valid_flags,
    header.fits_its_character_set,
    header.names_its_equipment,
    header.does_not_revise_itself,
    images.belongs_to_the_study,
    # content tree
    tree.has_the_root_of_tid_1500,
    tree.items_are_complete,
    tree.groups_are_tracked,
    tree.groups_name_their_algorithm,
    # measurement groups and points
    tree.groups_have_a_point,
    tree.groups_have_no_3d_points,
    tree.groups_are_restored,
    tree.groups_have_a_label,
    tree.points_are_valid,
    # referenced images
    images.images_are_evidence,
    images.images_exist,
    images.frames_are_named,
    images.points_lie_inside,
    # reader
    reads_as_a_lumbar_report,
)


def check(dataset: Dataset, images: Sequence[Dataset] = ()) -> tuple[Problem, ...]:
    """Every problem of an SR, in the order of `RULES`; empty when there is none.

    `images` are the headers of the images of its study; without them the rules that need
    them report nothing.
    """
    sr = Subject(dataset, images)
    if (
        not text(dataset, "SOPClassUID").startswith(_SR_CLASSES)
        and text(dataset, "Modality") != "SR"
    ):
        return (error("document", "not a Structured Report"),)
    return tuple(problem for rule in RULES for problem in rule(sr))
