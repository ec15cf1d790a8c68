"""Readers of training data: the RSNA 2024 layout, and folders of slices and crops."""
