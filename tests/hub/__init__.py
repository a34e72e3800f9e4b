"""A model hub on loopback that speaks the real one's API over real HTTP, and misbehaves on request."""
