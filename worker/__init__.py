"""Orthanc Lumbar: grades lumbar-spine MRI and writes the grades back as DICOM SR."""

__version__ = "0.1.0"
