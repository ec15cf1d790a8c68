"""Whether an axial stack lies where it says, by its pixels."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_sr.findings import NotAssessedReason
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.study import Role
from worker.domain.volume import Volume, Volumes
from worker.intake.alignment import fit_along_body, in_one_space, is_turned
from worker.intake.loading import load
from worker.phantom import write_phantom
from worker.pipeline import route_study


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Volumes:
    """The three stacks of a phantom; all share a frame of reference."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(shared_phantom(17), folder)
    archive = FolderArchive()
    return load(route_study(str(folder), archive), archive.fetch)


def moved(volume: Volume, up_mm: float, frame: str | None = None) -> Volume:
    """The same pixels at another height, and in another frame of reference."""
    slices = tuple(
        replace(
            header,
            plane=replace(
                header.plane,
                position_mm=(*header.plane.position_mm[:2], header.plane.position_mm[2] + up_mm),
            ),
        )
        for header in volume.slices
    )
    return replace(
        volume,
        slices=slices,
        frame_of_reference_uid=frame or volume.frame_of_reference_uid,
    )


def with_axial(volumes: Volumes, up_mm: float, frame: str | None = None) -> Volumes:
    return replace(volumes, axial_t2=tuple(moved(v, up_mm, frame) for v in volumes.axial_t2))


@pytest.mark.parametrize("up_mm", [-30.0, -20.0, 0.0, 20.0, 30.0])
def test_the_best_fit_undoes_a_movement(volumes, up_mm):
    """Within three millimetres, towards head and feet."""
    fit = fit_along_body(with_axial(volumes, up_mm).axial_t2, volumes.sagittal_t2[0])
    assert fit is not None
    assert fit.best_mm == pytest.approx(-up_mm, abs=3)


@pytest.mark.parametrize("frame", [None, "1.2.3.4"], ids=["same frame", "other frame"])
@pytest.mark.parametrize(("up_mm", "kept"), [(0, True), (5, True), (20, False), (-28, False)])
def test_an_axial_series_at_another_level_is_left_out(volumes, up_mm, kept, frame):
    """Beyond half the distance of two discs, with the reason; a small movement is not."""
    found = in_one_space(with_axial(volumes, up_mm, frame))
    assert bool(found.axial_t2) is kept
    expected = {} if kept else {Role.AXIAL_T2: NotAssessedReason.NOT_SAME_SPACE}
    assert found.absent == expected
    recorded = sum(repair.instances for repair in found.repairs)
    assert recorded == (0 if kept else sum(len(v.slices) for v in volumes.axial_t2))
    assert found.sagittal_t1


def test_a_sagittal_t1_at_another_level_is_left_out(volumes):
    """Its foramina would get the names of other levels."""
    t1 = tuple(moved(volume, 28, "1.2.3.4") for volume in volumes.sagittal_t1)
    found = in_one_space(replace(volumes, sagittal_t1=t1))
    assert not found.sagittal_t1
    assert found.absent == {Role.SAGITTAL_T1: NotAssessedReason.NOT_SAME_SPACE}


def test_what_cannot_be_compared_is_kept_unless_frames_contradict(volumes):
    """A few lines prove nothing; another frame of reference then decides."""
    few = replace(
        volumes.axial_t2[0],
        pixels=volumes.axial_t2[0].pixels[:1],
        slices=volumes.axial_t2[0].slices[:1],
    )
    assert fit_along_body([few], volumes.sagittal_t2[0]) is None
    assert in_one_space(replace(volumes, axial_t2=(few,))).axial_t2
    elsewhere = replace(few, frame_of_reference_uid="1.2.3.4")
    assert not in_one_space(replace(volumes, axial_t2=(elsewhere,))).axial_t2


def test_frames_of_their_own_say_nothing(volumes):
    """De-identification gives every series another one."""
    own = replace(
        volumes,
        sagittal_t1=tuple(replace(v, frame_of_reference_uid="1.1") for v in volumes.sagittal_t1),
        axial_t2=tuple(replace(v, frame_of_reference_uid="1.2") for v in volumes.axial_t2),
    )
    assert in_one_space(own) is not None
    assert in_one_space(own).axial_t2 == own.axial_t2


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)], ids=["back to front", "mirrored", "both"])
def test_an_axial_series_whose_pixels_are_turned_is_left_out(volumes, axes):
    """Only the axial series is turned: its sides and the canal would be elsewhere."""
    turned = tuple(replace(v, pixels=np.flip(v.pixels, axes)) for v in volumes.axial_t2)
    found = in_one_space(replace(volumes, axial_t2=turned))
    assert not found.axial_t2
    assert found.absent[Role.AXIAL_T2] in (
        NotAssessedReason.ORIENTATION_IN_DOUBT,
        NotAssessedReason.NOT_SAME_SPACE,
    )
    assert sum(r.instances for r in found.repairs) == sum(len(v.slices) for v in turned)


def test_an_axial_series_from_feet_to_head_is_left_out(volumes):
    """The pictures lie at each other's places, as where the order of slices was read backwards."""
    assert not is_turned(volumes.axial_t2, volumes.sagittal_t2[0])
    pictures = [picture for v in volumes.axial_t2 for picture in v.pixels]
    heights = [plane.centre_mm[2] for v in volumes.axial_t2 for plane in v.planes]
    order = np.argsort(heights)
    places = dict(zip(order, order[::-1], strict=True))
    numbers = iter(range(len(pictures)))
    reversed_order = [
        replace(v, pixels=np.stack([pictures[places[next(numbers)]] for _ in v.slices]))
        for v in volumes.axial_t2
    ]
    assert is_turned(reversed_order, volumes.sagittal_t2[0])
