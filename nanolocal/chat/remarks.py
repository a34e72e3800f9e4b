"""What an answer does not take into account, in sentences that every face shows: nothing is left out without one."""

from collections.abc import Sequence

ONLY_THOUGHT = "The answer's tokens ended while it was still thinking; a longer answer has room for both."


def left_out(tokens: int, messages: int = 0) -> str:
    """Of the conversation, from its start; ``messages`` is 0 where only the tokens are known."""
    if messages == 1:
        return f"The oldest message ({_tokens(tokens)}) did not fit and was left out; it stays in the conversation."
    many = f"{messages:,} messages" if messages else "messages"
    return f"The oldest {many} ({_tokens(tokens)}) did not fit and were left out; they stay in the conversation."


def cut_off(tokens: int) -> str:
    """Of a picture's prompt, from its end."""
    return f"The end of the prompt ({_tokens(tokens)}) did not fit and was not drawn; a shorter one is drawn whole."


def made_do(n_ctx: int | None, *, fewer_bits: bool) -> str:
    """Of a build that found too little memory; it has ``n_ctx`` tokens of context where that is less than was meant."""
    shorter = [] if n_ctx is None else [f"reads at most {_tokens(n_ctx)} at once"]
    smaller = ["keeps what it reads in fewer bits, so answers may differ a little"] if fewer_bits else []
    return f"There was too little memory: this build now {' and '.join([*shorter, *smaller])}."


def unseen(pictures: int, unanswered: int) -> str:
    """Of the messages just before the prompt, those that no text follows from."""
    kinds = ((pictures, "picture", ""), (unanswered, "prompt", " without an answer"))
    parts = [f"{number} {noun}{'' if number == 1 else 's'}{rest}" for number, noun, rest in kinds if number]
    verb = "was" if pictures + unanswered == 1 else "were"
    return f"{' and '.join(parts)} before this prompt {verb} not read: only answered text is."


def undrawn(files: Sequence[str]) -> str:
    """Of the files of a picture's prompt, all: a picture is drawn from the typed words alone."""
    verb = "was" if len(files) == 1 else "were"
    return f"{', '.join(files)} {verb} not read: a picture is drawn from the typed words alone."


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"
