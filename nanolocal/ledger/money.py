"""Whole micro-credits. Nothing in the ledger is ever a float."""

from nanolocal.errors import UsageError

LARGEST = 2**63 - 1


def whole(value: object, what: str) -> int:
    """``value`` as an int in 0..2^63-1, or ``UsageError``; bool, float, NaN and text are refused, not converted."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise UsageError(f"{what} must be a whole number from 0 to {LARGEST}, not {str(value)[:40]}")
    return value
