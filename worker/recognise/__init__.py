"""Whether a sagittal series is T2-weighted, from one slice: how bright fluid is beside marrow.

A small network finds the canal, the discs and the vertebral bodies whatever the contrast;
physics decides. See README.md in this folder.
"""
