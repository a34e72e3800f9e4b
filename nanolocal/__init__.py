"""nanolocal: private AI on one's own machine, with a price on every answer."""

__version__ = "0.1.0"
