"""Synthetic lumbar MRI studies with known truth, for tests, the demo and training.

`make_phantom` draws a person from a seed (anatomy), lays the lesions along the spine
(lesions, profiles), places three series on it (protocol) and renders them (rendering:
spine and surroundings, painted with painting's brushes in tissue's signals);
`write_phantom` puts DICOM files and the truth on disk.
"""

from worker.phantom.lesions import CLINICAL, TRAINING, Prevalence, parse_lesion
from worker.phantom.protocol import SMALL, STANDARD, SliceCounts
from worker.phantom.study import Phantom, PhantomSeries, TruthPoint, make_phantom, target_places
from worker.phantom.writing import write_phantom

__all__ = [
    "CLINICAL",
    "SMALL",
    "STANDARD",
    "TRAINING",
    "Phantom",
    "PhantomSeries",
    "Prevalence",
    "SliceCounts",
    "TruthPoint",
    "make_phantom",
    "parse_lesion",
    "target_places",
    "write_phantom",
]
