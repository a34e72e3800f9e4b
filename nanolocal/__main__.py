"""``python -m nanolocal`` is the ``nanolocal`` command."""

from nanolocal.cli.main import entry

entry()
