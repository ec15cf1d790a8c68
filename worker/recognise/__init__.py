"""Recognises a T2-weighted sagittal series from one slice, by the signal of fluid and marrow.

A small network segments canal, discs and vertebral bodies of any contrast; fixed thresholds
of signal ratios decide. See README.md in this folder.
"""
