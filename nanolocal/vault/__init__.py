"""The encrypted store: keys, database, blobs, conversations and search."""
