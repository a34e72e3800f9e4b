"""Why a file is not opened: raised inside this room, and told to the user as ``Damaged``."""


class Refused(Exception):
    """One reason, as the end of the sentence "... is not a usable file: "."""
