"""One folder per lending protocol, each pure."""
