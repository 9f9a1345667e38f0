"""Oracles judged: traced to their leaves, fresh or not, and why.  Pure."""
