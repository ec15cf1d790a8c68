"""Synthetic lumbar MRI studies with known truth, for tests, the demo and training.

`make_phantom` generates an anatomy from a seed (anatomy), adds lesions along the spine
(lesions, profiles), plans three series (protocol) and renders them (rendering, spine,
surroundings, with the primitives of drawing and the signals of tissue); `write_phantom`
writes DICOM files and the truth.
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
