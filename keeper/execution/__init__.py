"""From intent to final receipt, once."""
