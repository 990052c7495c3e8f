"""Measurements, printed as ratios of one run; no test depends on them."""
