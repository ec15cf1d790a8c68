"""Evaluation of a model bundle: the challenge's score, and points compared with the truth."""
