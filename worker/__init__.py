"""Orthanc Lumbar: grades lumbar-spine MRI and writes the grades back as DICOM SR."""

from typing import Final

__version__ = "0.1.0"

MIN_AGE_YEARS: Final = 18
"""Where a site says nothing else. The models learnt from adults; a growing spine has other
proportions and other diseases."""
