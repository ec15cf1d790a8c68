"""How good a bundle is: the challenge's score, and points against the truth."""
