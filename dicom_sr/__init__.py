"""Structured Reports of lumbar grades: the published language, and DICOM in and out."""
