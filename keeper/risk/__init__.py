"""The book in columns, the float screen and the exact recheck.  Pure."""
