"""The journal, the outbox and the memory: SQLite or PostgreSQL, one code, one set of tests."""
