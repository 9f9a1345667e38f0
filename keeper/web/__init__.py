"""Metrics, health and the status page, on loopback.

Everything here is read-only: no request changes anything, whoever sends it.
"""
