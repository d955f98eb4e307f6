"""Simulated groups with known truth, and what every mechanism of the group engine is worth on them."""
