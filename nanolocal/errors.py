"""Every error nanolocal raises on purpose.

Each says what happened (``message``), what to do next (``hint``), and which exit code a command ends with::

    NanolocalError
    ├── EngineFailed      1    an engine could not load, run or finish
    │   ├── BuildFailed   1    the files of the build are why
    │   └── OutOfMemory   1    what was missing was memory
    ├── TransferFailed    1    a download could not be finished; what arrived is kept
    │   └── AccessRefused 1    the hub wants a token, or another one
    ├── UsageError        2    the command, a setting or a file given by the user is wrong
    ├── VaultLocked       3    the passphrase is missing or wrong
    ├── NoBuildFits       4    no stored build can answer this prompt on this machine
    ├── OutOfCredit       5    balance or budgets do not cover the most it can cost
    └── Damaged           6    stored data was changed or broken outside nanolocal
"""


class NanolocalError(Exception):
    """One clear sentence for the user, and the next step."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EngineFailed(NanolocalError):
    """An engine could not load its build, died, or stopped answering."""

    exit_code = 1


class BuildFailed(EngineFailed):
    """No engine can do anything with the files of this build: they cannot be loaded, or end the engine that tries."""


class OutOfMemory(EngineFailed):
    """An engine could not get the memory that it needs; with less context it might."""


class TransferFailed(NanolocalError):
    """A download could not be finished: no network, the server refused, or what came is not what was promised."""

    exit_code = 1


class AccessRefused(TransferFailed):
    """The hub gives this to nobody without a token, or not to the owner of this one."""


class UsageError(NanolocalError):
    """The command line, a setting or a file given by the user is wrong."""

    exit_code = 2


class VaultLocked(NanolocalError):
    """The vault needs a passphrase, or the one given is wrong."""

    exit_code = 3


class NoBuildFits(NanolocalError):
    """No stored build can take this prompt here; ``rejected`` in the route says why."""

    exit_code = 4


class OutOfCredit(NanolocalError):
    """Balance or budgets do not cover the most an answer can cost; ``room_micro`` is what they would cover.

    ``budget`` is the scope of the budget that refused, where it was one, ``tokens`` how long an answer the room buys.
    """

    exit_code = 5

    def __init__(self, message: str, hint: str = "", room_micro: int = 0, *, budget: str = "", tokens: int = 0) -> None:
        super().__init__(message, hint)
        self.room_micro = room_micro
        self.budget = budget
        self.tokens = tokens


class Damaged(NanolocalError):
    """Stored data fails its check: damaged, tampered with, or from another vault."""

    exit_code = 6


def place_of(error: BaseException) -> str:
    """What kind of unexpected error happened and where, without its text or any value: those may be private."""
    from pathlib import Path
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
