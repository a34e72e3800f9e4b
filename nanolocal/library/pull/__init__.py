"""Fetching builds from a hub or an address: found out first, fetched in chunks, checked, and only then in its place."""

UNFINISHED = ".pulling"
"""The folder among the models in which pulls arrive; hidden, so that half a build is never listed."""
