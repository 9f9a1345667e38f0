"""Metrics, health and the status page, on loopback."""
