"""Images of each graded target: its slice with the point marked, and a thumbnail."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import Image, ImageDraw, ImageOps

from dicom_sr.findings import Condition, Graded, ImageReference, Report, Target
from worker.domain.volume import Volumes
from worker.report.slice_index import Slice, slices_by_image
from worker.report.slice_view import (
    GREY,
    INK,
    RGB,
    WHITE,
    View,
    draw_letters,
    draw_marker,
    font,
    render_slice,
)
from worker.report.text import percent

CAPTION_PX: Final = 78
THUMBNAIL_PX: Final = 176
THUMBNAIL_RADIUS_PX: Final = 11.0
THUMBNAIL_MM: Final = {
    Condition.SPINAL_CANAL_STENOSIS: 75.0,
    Condition.NEURAL_FORAMINAL_NARROWING: 65.0,
    Condition.SUBARTICULAR_STENOSIS: 65.0,
}


@dataclass(frozen=True)
class FindingImage:
    """A rendered slice of a target: a PNG with a caption and a JPEG thumbnail around the point.

    `name` is the file name, derived from the target only; `description` names the image.
    """

    target: Target
    name: str
    description: str
    png: bytes
    thumbnail: bytes


def draw_finding_images(report: Report, volumes: Volumes) -> tuple[FindingImage, ...]:
    """Draw every graded target in the order of the report; the same input gives the same bytes.

    A target that was graded on a different image than that of its point (the canal) gets a
    second image: the same patient position on the image that was graded.
    """
    slices = slices_by_image(volumes)

    @cache
    def view_of(image: ImageReference) -> View:
        return render_slice(slices[image])

    images = []
    for finding in report.graded:
        image, column, row = finding.point.image, finding.point.column, finding.point.row
        shown = slices[image]
        images.append(_draw(finding, shown, view_of(image), (column, row), ""))
        if finding.graded_on != image:
            graded_on = slices[finding.graded_on]
            point = graded_on.plane.to_px(shown.plane.to_mm(column, row))
            addition = graded_on.plane.orientation.value
            images.append(_draw(finding, graded_on, view_of(finding.graded_on), point, addition))
    return tuple(images)


def file_name(target: Target, addition: str = "") -> str:
    """`l4-l5-left-subarticular-stenosis.png`: the target in lower case with hyphens."""
    parts = [*str(target).lower().replace("/", "-").split(), addition]
    return "-".join(filter(None, parts)) + ".png"


def _draw(
    finding: Graded, shown: Slice, view: View, point: tuple[float, float], addition: str
) -> FindingImage:
    x, y = view.to_display(*point)
    ink = INK[finding.severity]
    description = shown.volume.role.label
    if shown.header.instance_number is not None:
        description += f", image {shown.header.instance_number}"
    if shown.header.image.frame is not None:
        description += f", frame {shown.header.image.frame}"
    if addition:
        description += ", the point projected onto it"

    width, height = view.image.size
    whole = Image.new("RGB", (width, height + CAPTION_PX))
    whole.paste(view.image)
    draw_letters(whole, view.plane, (width, height))
    draw_marker(whole, x, y, ink)
    _caption(whole, height, finding, description)

    thumbnail = _thumbnail(view, x, y, THUMBNAIL_MM[finding.target.condition], ink)
    return FindingImage(
        target=finding.target,
        name=file_name(finding.target, addition),
        description=description,
        png=_encoded(whole, "PNG", compress_level=1),
        thumbnail=_encoded(thumbnail, "JPEG", quality=85, subsampling=0),
    )


def _thumbnail(view: View, x: float, y: float, side_mm: float, ink: RGB) -> Image.Image:
    reach = side_mm / 2 * view.px_per_mm
    left, top = round(x - reach), round(y - reach)
    side = max(1, round(2 * reach))
    part = view.image.crop((left, top, left + side, top + side))
    # Bright fat near the coil would leave the spine dark, so the crop gets its own contrast.
    part = ImageOps.autocontrast(part, cutoff=(1, 0.5))
    part = part.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC).convert("RGB")
    scale = THUMBNAIL_PX / side
    draw_marker(
        part,
        (x - left + 0.5) * scale - 0.5,
        (y - top + 0.5) * scale - 0.5,
        ink,
        THUMBNAIL_RADIUS_PX,
    )
    return part


def _caption(whole: Image.Image, top: int, finding: Graded, description: str) -> None:
    """Write the target, its grade and the description below the image."""
    draw = ImageDraw.Draw(whole)
    grade = f"{finding.severity.label}, confidence {percent(finding.confidence)}"
    for text, size, offset, ink in (
        (str(finding.target), 18, 8, WHITE),
        (grade, 18, 31, INK[finding.severity]),
        (
            f"{description[0].upper()}{description[1:]}. Research use; unverified AI result",
            12,
            57,
            GREY,
        ),
    ):
        fitting = min(
            size, int(size * (whole.width - 16) / max(1.0, draw.textlength(text, font(size))))
        )
        draw.text((8, top + offset), text, fill=ink, font=font(max(6, fitting)))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
