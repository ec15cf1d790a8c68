"""Structured Reports of lumbar grades: the data model of a report, and its DICOM SR form."""
