"""The format of a vault (FORMAT.md) and a reader that follows it without any of nanolocal (decrypt_vault.py)."""
