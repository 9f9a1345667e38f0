"""Delivery: the outbox, its channels, and the Telegram bot."""
