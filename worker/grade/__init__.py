"""Stage 2: from located points to severities. One strategy per file."""

from __future__ import annotations

from typing import Final

from worker.grade.crops import Crops
from worker.models.seam import Grader, StrategyClass

GRADERS: Final[dict[str, StrategyClass[Grader]]] = {
    Crops.name: Crops,
}
"""Every grader by its name; a new one is a file and a line here."""
