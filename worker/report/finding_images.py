"""Pictures of each graded target: its slice with the point marked, and a thumbnail."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import Image, ImageDraw, ImageOps

from dicom_sr.findings import Condition, Graded, ImageReference, Report, Target
from worker.domain.volume import Volumes
from worker.report.slice_index import Slice, slices_by_image
from worker.report.slice_view import GREY, INK, RGB, WHITE, View, font, letters, mark, view
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
    """A target's slice as drawn: a PNG with a caption, a JPEG thumbnail around the point.

    `name` is the file's name, made from the target alone; `shows` says what is seen.
    """

    target: Target
    name: str
    shows: str
    png: bytes
    thumbnail: bytes


def draw_finding_images(report: Report, volumes: Volumes) -> tuple[FindingImage, ...]:
    """Draw every graded target in the order of the report; the same input, the same bytes.

    A target that was graded on another image than the one that carries its point (the
    canal) gets a second picture: the same patient position on the image it was graded on.
    """
    slices = slices_by_image(volumes)

    @cache
    def seen(image: ImageReference) -> View:
        return view(slices[image])

    pictures = []
    for finding in report.graded:
        image, column, row = finding.point.image, finding.point.column, finding.point.row
        shown = slices[image]
        pictures.append(_draw(finding, shown, seen(image), (column, row), ""))
        if finding.graded_on != image:
            graded_on = slices[finding.graded_on]
            place = graded_on.plane.to_px(shown.plane.to_mm(column, row))
            addition = graded_on.plane.orientation.value
            pictures.append(_draw(finding, graded_on, seen(finding.graded_on), place, addition))
    return tuple(pictures)


def file_name(target: Target, addition: str = "") -> str:
    """`l4-l5-left-subarticular-stenosis.png`: the target in lower case with hyphens."""
    words = [*str(target).lower().replace("/", "-").split(), addition]
    return "-".join(filter(None, words)) + ".png"


def _draw(
    finding: Graded, shown: Slice, seen: View, place: tuple[float, float], addition: str
) -> FindingImage:
    x, y = seen.to_display(*place)
    ink = INK[finding.severity]
    shows = shown.volume.role.label
    if shown.header.instance_number is not None:
        shows += f", image {shown.header.instance_number}"
    if shown.header.image.frame is not None:
        shows += f", frame {shown.header.image.frame}"
    if addition:
        shows += ", the point projected onto it"

    width, height = seen.image.size
    whole = Image.new("RGB", (width, height + CAPTION_PX))
    whole.paste(seen.image)
    letters(whole, seen.plane, (width, height))
    mark(whole, x, y, ink)
    _caption(whole, height, finding, shows)

    thumbnail = _thumbnail(seen, x, y, THUMBNAIL_MM[finding.target.condition], ink)
    return FindingImage(
        target=finding.target,
        name=file_name(finding.target, addition),
        shows=shows,
        png=_encoded(whole, "PNG", compress_level=1),
        thumbnail=_encoded(thumbnail, "JPEG", quality=85, subsampling=0),
    )


def _thumbnail(seen: View, x: float, y: float, side_mm: float, ink: RGB) -> Image.Image:
    reach = side_mm / 2 * seen.px_per_mm
    left, top = round(x - reach), round(y - reach)
    side = max(1, round(2 * reach))
    part = seen.image.crop((left, top, left + side, top + side))
    # Bright fat near the coil would leave the spine dark: the part gets its own contrast.
    part = ImageOps.autocontrast(part, cutoff=(1, 0.5))
    part = part.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC).convert("RGB")
    scale = THUMBNAIL_PX / side
    mark(
        part,
        (x - left + 0.5) * scale - 0.5,
        (y - top + 0.5) * scale - 0.5,
        ink,
        THUMBNAIL_RADIUS_PX,
    )
    return part


def _caption(whole: Image.Image, top: int, finding: Graded, shows: str) -> None:
    """The target, its grade and what is seen, below the image: nothing of it is hidden."""
    draw = ImageDraw.Draw(whole)
    grade = f"{finding.severity.label}, confidence {percent(finding.confidence)}"
    for text, size, offset, ink in (
        (str(finding.target), 18, 8, WHITE),
        (grade, 18, 31, INK[finding.severity]),
        (f"{shows[0].upper()}{shows[1:]}. Research use; unverified AI result", 12, 57, GREY),
    ):
        fitting = min(
            size, int(size * (whole.width - 16) / max(1.0, draw.textlength(text, font(size))))
        )
        draw.text((8, top + offset), text, fill=ink, font=font(max(6, fitting)))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
