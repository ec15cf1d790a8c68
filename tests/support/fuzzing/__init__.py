"""Fuzzing: phantom studies broken at random, and the check of their outcome."""
