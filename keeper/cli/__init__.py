"""Commands parse and print; they decide nothing."""
