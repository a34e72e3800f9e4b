"""Conversations go out and come in: one module per format, pure functions that know nothing of the database."""
