"""Fitting the networks of a bundle: samples, augmentation, losses, and the run itself."""
