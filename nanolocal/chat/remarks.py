"""What an answer does not take into account, in sentences that every face shows: nothing is left out without one."""

from collections.abc import Sequence


def left_out(tokens: int, messages: int = 0) -> str:
    """Of the conversation, from its start; ``messages`` is 0 where only the tokens are known."""
    if messages == 1:
        return f"The oldest message ({_tokens(tokens)}) did not fit and was left out; it stays in the conversation."
    many = f"{messages:,} messages" if messages else "messages"
    return f"The oldest {many} ({_tokens(tokens)}) did not fit and were left out; they stay in the conversation."


def cut_off(tokens: int) -> str:
    """Of a picture's prompt, from its end."""
    return f"The end of the prompt ({_tokens(tokens)}) did not fit and was not drawn; a shorter one is drawn whole."


def smaller_numbers() -> str:
    """Of a build whose keys and values found no memory."""
    return (
        "There was too little memory, so this build keeps what it reads in fewer bits now: answers may differ a little."
    )


def shorter_context(n_ctx: int) -> str:
    """Of a build whose context found no memory."""
    return f"There was too little memory, so this build reads at most {_tokens(n_ctx)} at once now."


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
