"""What to do about a position: frozen dataclasses with decide().  Pure."""
