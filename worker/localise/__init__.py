"""Stage 1: where the five disc levels and their structures lie."""
