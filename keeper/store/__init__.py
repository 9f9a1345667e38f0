"""The database: journal, outbox, history, audit."""
