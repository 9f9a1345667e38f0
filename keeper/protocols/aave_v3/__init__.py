"""Aave v3 and its forks."""
