"""Fetching builds from a hub or an address: found out first, fetched in chunks, checked, and only then in its place."""
