"""The pictures: the mark is where the point is, and the letters are on their sides."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from dicom_sr.findings import TARGETS, Condition, Level, Side, Target
from worker.domain.volume import Volume, Volumes
from worker.report.finding_images import CAPTION_PX, THUMBNAIL_PX, draw_finding_images, file_name
from worker.report.slice_index import slices_by_image
from worker.report.slice_view import INK, draw_letters, render_slice, side_letters

TURNED = {
    "as usual": (False, False),
    "columns reversed": (True, False),
    "rows reversed": (False, True),
    "both reversed": (True, True),
    "on its side": (False, False, True),
    "on its side, columns reversed": (True, False, True),
}


def marked(encoded, ink, below=0, tolerance=24.0):
    """The middle (x, y) of the pixels that have the ink's colour."""
    pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), dtype=float)
    pixels = pixels[: len(pixels) - below]
    rows, columns = np.nonzero(np.linalg.norm(pixels - ink, axis=2) < tolerance)
    assert len(rows) > 30, "no mark was found"
    return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2


def stored_otherwise(volume, reverse_columns, reverse_rows, on_its_side=False):
    """The same slices of the same patient, with columns or rows reversed, or then exchanged."""

    def turn(plane):
        corner = plane.to_mm(
            plane.columns - 1 if reverse_columns else 0, plane.rows - 1 if reverse_rows else 0
        )
        across, down = (
            tuple(-v if flip else v for v in direction)
            for direction, flip in (
                (plane.along_columns, reverse_columns),
                (plane.along_rows, reverse_rows),
            )
        )
        reversed_ = dataclasses.replace(
            plane, position_mm=tuple(corner), along_columns=across, along_rows=down
        )
        if not on_its_side:
            return reversed_
        return dataclasses.replace(
            reversed_,
            along_columns=down,
            along_rows=across,
            row_spacing_mm=plane.column_spacing_mm,
            column_spacing_mm=plane.row_spacing_mm,
            rows=plane.columns,
            columns=plane.rows,
        )

    pixels = volume.pixels[:, :: -1 if reverse_rows else 1, :: -1 if reverse_columns else 1]
    pixels = pixels.swapaxes(1, 2) if on_its_side else pixels
    slices = [dataclasses.replace(h, plane=turn(h.plane)) for h in volume.slices]
    # The normal may turn round too.
    step = 1 if (reverse_columns == reverse_rows) != on_its_side else -1
    return Volume(volume.role, pixels[::step].copy(), tuple(slices[::step]))


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED.keys())
def test_the_mark_is_at_the_point_in_the_usual_view(make, volumes, turn):
    """However a slice is stored, and with oblong pixels, the mark shows the same anatomy."""
    straight = make(volumes=volumes)
    turned = Volumes(
        *(tuple(stored_otherwise(v, *turn) for v in volumes.of(r)) for r in roles(volumes))
    )
    findings = {}
    for finding in straight.report.graded:
        there = slices_by_image(volumes)[finding.point.image].plane
        here = slices_by_image(turned)[finding.point.image].plane
        column, row = here.to_px(there.to_mm(finding.point.column, finding.point.row))
        point = dataclasses.replace(finding.point, column=column, row=row)
        findings[finding.target] = dataclasses.replace(finding, point=point)
    pictures = draw_finding_images(make(findings, turned).report, turned)
    seen = {}
    for picture in pictures:
        seen.setdefault(picture.target, picture)
    for target, picture in seen.items():
        finding = straight.report[target]
        plane = slices_by_image(volumes)[finding.point.image].plane
        width, height = Image.open(io.BytesIO(picture.png)).size
        height -= CAPTION_PX
        expected = (
            (finding.point.column + 0.5) * width / plane.columns - 0.5,
            (finding.point.row + 0.5) * height / plane.rows - 0.5,
        )
        found = marked(picture.png, INK[finding.severity], CAPTION_PX)
        assert np.allclose(found, expected, atol=1.0), target
        middle = (THUMBNAIL_PX - 1) / 2
        thumbnail = marked(picture.thumbnail, INK[finding.severity], tolerance=60)
        assert np.allclose(thumbnail, (middle, middle), atol=2.5), target


def roles(volumes):
    """The roles in the order of the fields of `Volumes`."""
    return [stack[0].role for stack in (volumes.sagittal_t1, volumes.sagittal_t2, volumes.axial_t2)]


def test_pixels_are_square_in_the_picture(volumes):
    """A slice whose pixels are twice as wide as high keeps the patient's proportions."""
    shown = slices_by_image(volumes)[volumes.sagittal_t2[0].image(0)]
    plane = shown.plane
    width, height = render_slice(shown).image.size
    in_mm = plane.columns * plane.column_spacing_mm, plane.rows * plane.row_spacing_mm
    assert width / height == pytest.approx(in_mm[0] / in_mm[1], rel=0.01)


def test_the_mark_leaves_its_middle_open(make, volumes):
    """The anatomy at the point itself can be seen: the mark draws nothing there."""
    graded_study = make()
    for picture in draw_finding_images(graded_study.report, volumes):
        ink = INK[graded_study.report[picture.target].severity]
        x, y = (round(v) for v in marked(picture.png, ink, CAPTION_PX))
        pixels = np.asarray(Image.open(io.BytesIO(picture.png)))
        middle = pixels[y - 5 : y + 6, x - 5 : x + 6].reshape(-1, 3)
        assert (middle.max(axis=1) == middle.min(axis=1)).all(), picture.name


def test_the_canal_is_shown_on_both_images_at_one_patient_position(make, volumes):
    """The second picture of the canal marks the same position on the axial slice graded."""
    graded_study = make()
    target = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4)
    finding = graded_study.report[target]
    pictures = [p for p in draw_finding_images(graded_study.report, volumes) if p.target == target]
    assert [p.name for p in pictures] == [
        "l3-l4-spinal-canal-stenosis.png",
        "l3-l4-spinal-canal-stenosis-axial.png",
    ]
    slices = slices_by_image(volumes)
    position = slices[finding.point.image].plane.to_mm(finding.point.column, finding.point.row)
    graded_on = slices[finding.graded_on]
    expected = render_slice(graded_on).to_display(*graded_on.plane.to_px(position))
    found = marked(pictures[1].png, INK[finding.severity], CAPTION_PX)
    assert np.allclose(found, expected, atol=1.0)


@pytest.mark.parametrize(
    ("direction", "flipped", "expected"),
    [
        ((1, 0, 0), False, ("L", "R")),
        ((-1, 0, 0), False, ("R", "L")),
        ((-1, 0, 0), True, ("L", "R")),
        ((0.1, 0.9, -0.4), False, ("P", "A")),
        ((0, 0.3, -0.95), False, ("F", "H")),
        ((0, 0.3, 0.95), True, ("F", "H")),
    ],
)
def test_letters_name_the_ends_of_an_axis(direction, flipped, expected):
    """The letter at an axis' end is where the patient's own axis points, +x being left."""
    assert side_letters(direction, flipped=flipped) == expected


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED.keys())
def test_l_is_drawn_at_the_border_where_patient_left_is(volumes, turn):
    """On an axial slice the drawn L differs from the drawn R, and stands on the side of +x."""
    volume = stored_otherwise(volumes.axial_t2[0], *turn)
    shown = slices_by_image(Volumes(axial_t2=(volume,)))[volume.image(0)]
    seen = render_slice(shown)
    drawn = Image.new("RGB", seen.image.size)
    draw_letters(drawn, shown.plane, drawn.size)
    centre = shown.plane.to_mm((shown.plane.columns - 1) / 2, (shown.plane.rows - 1) / 2)
    x, _ = seen.to_display(*shown.plane.to_px(centre + np.array([30.0, 0, 0])))
    left_is_right = x > seen.image.width / 2
    pixels = np.asarray(drawn.convert("L"))[200:-200]
    ends = pixels[:, :40], pixels[:, -40:]
    # The letter L has no ink in its upper right quarter; R has.
    assert [_is_l(end) for end in ends] == [not left_is_right, left_is_right]


def _is_l(pixels):
    rows, columns = np.nonzero(pixels > 128)
    letter = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 128
    height, width = letter.shape
    return not letter[: height // 2, width // 2 + 1 :].any()


def test_names_come_from_the_target_alone():
    """File names are made of the target, all different, and hold no slash or space."""
    names = [file_name(target) for target in TARGETS]
    assert "l4-l5-left-subarticular-stenosis.png" in names
    assert len(set(names)) == len(TARGETS)
    assert not any(set(name) & set(" /") for name in names)


def test_the_same_input_gives_the_same_bytes(make, volumes):
    """Pictures are deterministic, so a report written twice does not change."""
    assert draw_finding_images(make().report, volumes) == draw_finding_images(
        make().report, volumes
    )


def test_a_point_at_the_border_is_drawn_too(make, volumes):
    """A point on the very edge of the image gives a picture and a thumbnail of full size."""
    target = Target(Condition.SUBARTICULAR_STENOSIS, Level.L5_S1, Side.LEFT)
    finding = make().report[target]
    edge = dataclasses.replace(
        finding, point=dataclasses.replace(finding.point, column=-0.5, row=0)
    )
    pictures = draw_finding_images(make({target: edge}).report, volumes)
    picture = next(p for p in pictures if p.target == target)
    assert Image.open(io.BytesIO(picture.thumbnail)).size == (THUMBNAIL_PX, THUMBNAIL_PX)


def test_a_blank_slice_is_drawn(make, volumes):
    """A slice of one value has no contrast to window and is no error."""
    blank = dataclasses.replace(
        volumes.sagittal_t1[0], pixels=np.zeros_like(volumes.sagittal_t1[0].pixels)
    )
    changed = dataclasses.replace(volumes, sagittal_t1=(blank,))
    assert len(draw_finding_images(make(volumes=changed).report, changed)) == 30
