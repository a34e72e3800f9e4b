"""Models where other programs keep them: read in place, never copied, never changed."""
