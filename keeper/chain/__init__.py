"""The chain as the keeper reads it: JSON-RPC, heads, logs, packed reads."""
