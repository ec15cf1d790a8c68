"""Phantom studies broken in every way we could think of, and the judge of what becomes of them."""
