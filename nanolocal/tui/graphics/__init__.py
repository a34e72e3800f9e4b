"""How pictures reach a terminal: what it can show, and the bytes that show it."""
