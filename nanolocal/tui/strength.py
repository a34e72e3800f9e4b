"""How good a passphrase is, in words. It counts characters and knows no dictionary, and says no more than that."""

_SHORT, _LONG = 10, 16
_FEW, _MANY = 6, 9


def strength(passphrase: str) -> str:
    """One sentence; nothing for nothing."""
    length, distinct = len(passphrase), len(set(passphrase))
    if not passphrase:
        return ""
    if length < _SHORT or distinct < _FEW:
        return "Weak: soon guessed by a program. Four random words are better."
    if length < _LONG or distinct < _MANY:
        return "Fair: longer is better than stranger."
    return "Long enough, unless it is a known phrase."
