"""Orthanc Lumbar: grades lumbar-spine MRI and writes the grades back as DICOM SR."""

from typing import Final

__version__ = "0.1.0"

PIPELINE_VERSION: Final = 2
"""Part of every report's UIDs. Raise it by one whenever the same images and the same bundle can
give another report: after a change to intake, to the decision about findings, or to the layout of
the Structured Report. A change inside a model raises the version of its approach instead."""

MIN_AGE_YEARS: Final = 18
"""The default of a site. The models were trained on adults; a growing spine has other
proportions and other diseases."""
