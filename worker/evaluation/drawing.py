"""How every plot looks, and how it becomes a picture in memory."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from worker.evaluation.extras import extra
from worker.evaluation.results import Estimate

INK: Final = "#1a1d21"
SOFT: Final = "#5b636d"
LINE: Final = "#d9dde2"
NORMAL, MODERATE, SEVERE = "#2f7fb8", "#b36b00", "#c2123f"
"""The colours of the grades, as in the report of a study."""

_STYLE: Final[Mapping[str, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


@dataclass(frozen=True)
class Plot:
    """A picture with its title, and what it shows for those who cannot see it."""

    title: str
    shows: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def house_style() -> AbstractContextManager[None]:
    """Whatever is drawn within looks alike; raises BadSettings where matplotlib is absent."""
    style: AbstractContextManager[None] = extra("matplotlib").rc_context(dict(_STYLE))
    return style


class Canvas:
    """One set of axes: `axes` is matplotlib's, `plot` ends the drawing.

    Matplotlib's pyplot is not used: it keeps figures alive and may look for a display.
    """

    def __init__(self, width: float = 3.9, height: float = 3.3) -> None:
        self._figure = extra("matplotlib.figure").Figure((width, height), layout="constrained")
        self.axes = self._figure.add_subplot()

    def plot(self, title: str, shows: str) -> Plot:
        """The finished picture; the title is set beside it, not within."""
        stream = io.BytesIO()
        # Without the software's name and version the same figures give the same bytes.
        self._figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
        return Plot(title, shows, stream.getvalue())


def percent_axis(axis: Any) -> None:  # noqa: ANN401  matplotlib is not typed for us
    """Write the ticks of an axis that runs from 0 to 1 in percent."""
    axis.set_major_formatter(extra("matplotlib.ticker").PercentFormatter(1, decimals=None))


def whiskers(figures: Sequence[Estimate]) -> list[list[float]]:
    """What matplotlib wants for intervals: distances below and above, shape (2, n)."""
    below, above = [], []
    for figure in figures:
        value = figure.value or 0.0
        below.append(value - (value if figure.low is None else figure.low))
        above.append((value if figure.high is None else figure.high) - value)
    return [below, above]
