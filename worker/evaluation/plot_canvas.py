"""The common style of all plots, and their rendering to PNG in memory."""

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
    """A rendered plot with its title and a description for screen readers."""

    title: str
    description: str
    png: bytes

    @property
    def source(self) -> str:
        """The plot as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def plot_style() -> AbstractContextManager[None]:
    """Apply the common style to all plots drawn within; raise BadSettings without matplotlib."""
    style: AbstractContextManager[None] = extra("matplotlib").rc_context(dict(_STYLE))
    return style


class Canvas:
    """One set of matplotlib axes; `plot` renders them.

    Matplotlib's pyplot is not used: it keeps a global list of figures and may need a display.
    """

    def __init__(self, width: float = 3.9, height: float = 3.3) -> None:
        self._figure = extra("matplotlib.figure").Figure((width, height), layout="constrained")
        self.axes = self._figure.add_subplot()

    def plot(self, title: str, description: str) -> Plot:
        """Render the plot; the page shows the title outside the image."""
        stream = io.BytesIO()
        # Without the software's name and version the same data give the same bytes.
        self._figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
        return Plot(title, description, stream.getvalue())


def percent_axis(axis: Any) -> None:  # noqa: ANN401  matplotlib has no types
    """Format the ticks of an axis from 0 to 1 in percent."""
    axis.set_major_formatter(extra("matplotlib.ticker").PercentFormatter(1, decimals=None))


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Distances from the values to the ends of their intervals, shape (2, n), for matplotlib."""
    below, above = [], []
    for estimate in estimates:
        value = estimate.value or 0.0
        below.append(value - (value if estimate.low is None else estimate.low))
        above.append((value if estimate.high is None else estimate.high) - value)
    return [below, above]
