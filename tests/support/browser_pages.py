"""Reads images, labels and ends of arrows from a page of OHIF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from dicom_sr.findings import Condition

VIEWPORT = {
    Condition.SPINAL_CANAL_STENOSIS: "sagittal_t2",
    Condition.NEURAL_FORAMINAL_NARROWING: "sagittal_t1",
    Condition.SUBARTICULAR_STENOSIS: "axial_t2",
}
"""The viewport of each condition in the hanging protocol."""

_SCREEN = """() => Object.fromEntries(
  [...document.querySelectorAll('.cornerstone-viewport-element')].map(element => {
    const id = element.dataset.viewportUid;
    const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
    const arrows = [...element.querySelectorAll('g[data-annotation-uid]')].map(group => {
      // An arrow is three lines that end in its tip, right before its text.
      const line = group.previousElementSibling;
      const [x, y] = ['x2', 'y2'].map(name => Number(line.getAttribute(name)));
      return [group.textContent, [x, y]];
    });
    const image = viewport.getCurrentImageId();
    const box = element.getBoundingClientRect();
    return [id, {
      arrows: Object.fromEntries(arrows),
      instance: image.match(/instances\\/([\\d.]+)/)[1],
      frame: Number(image.match(/frames\\/(\\d+)/)[1]),
      box: [box.x, box.y, box.width, box.height],
    }];
  })
)"""


@dataclass(frozen=True)
class Shown:
    """One viewport: the image on it, and where the arrow of each label on it ends.

    `arrows` maps a label to (x, y) in pixels of the viewport; `box` is x, y, width and height
    of the viewport on the page.
    """

    arrows: Mapping[str, tuple[float, float]]
    instance: str
    frame: int
    box: tuple[float, float, float, float]

    def pixel(self, column: float, row: float, columns: int, rows: int) -> tuple[float, float]:
        """Where a pixel's centre lies when the whole image fits the viewport, in its middle.

        (0, 0) is the centre of the first pixel; pixels are square.
        """
        width, height = self.box[2:]
        scale = min(width / columns, height / rows)
        x = width / 2 + (column + 0.5 - columns / 2) * scale
        y = height / 2 + (row + 0.5 - rows / 2) * scale
        return x, y


def screen(page: Page) -> dict[str, Shown]:
    """The current content of each viewport."""
    found: dict[str, Any] = page.evaluate(_SCREEN)
    return {name: Shown(**content) for name, content in found.items()}


def wait_for_labels(page: Page, count: int) -> None:
    """Wait until the list of findings holds so many, and every viewport shows an arrow."""
    page.wait_for_function(
        """count => document.querySelectorAll('[data-cy="data-row-title"]').length === count
          && [...document.querySelectorAll('.cornerstone-viewport-element')]
            .every(element => element.querySelector('g[data-annotation-uid]'))""",
        arg=count,
        timeout=60_000,
    )


def wait_for_label(page: Page, viewport: str, label: str) -> None:
    """Wait until a viewport shows a label."""
    page.wait_for_function(
        """([viewport, label]) => [...document.querySelectorAll(
          `[data-viewport-uid="${viewport}"] g[data-annotation-uid]`
        )].some(group => group.textContent === label)""",
        arg=[viewport, label],
        timeout=15_000,
    )
