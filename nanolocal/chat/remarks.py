"""What an answer does not take into account, in sentences that every face shows: nothing is left out without one."""

from collections.abc import Sequence

ONLY_THOUGHT = "The answer's tokens ended while it was still thinking; a longer answer has room for both."

UNWEIGHTED = "This build cannot weight words of a prompt; they were drawn as if they had no weights."
PREVIEW_KEPT = "It was stopped before it was done; this is its preview."
BLACKED_OUT = "The safety checker of this build took what was drawn for indecent and made it black."


def left_out(tokens: int, messages: int = 0) -> str:
    """Of the conversation, from its start; ``messages`` is 0 where only the tokens are known."""
    if messages == 1:
        return f"The oldest message ({_tokens(tokens)}) did not fit and was left out; it stays in the conversation."
    many = f"{messages:,} messages" if messages else "messages"
    return f"The oldest {many} ({_tokens(tokens)}) did not fit and were left out; they stay in the conversation."


def cut_off(tokens: int) -> str:
    """Of a picture's prompt, from its end."""
    return f"The end of the prompt ({_tokens(tokens)}) did not fit and was not drawn; a shorter one is drawn whole."


def made_do(n_ctx: int | None, *, fewer_bits: bool, layers: int | None = None, is_alone: bool = False) -> str:
    """Of a build that found too little memory; it has ``n_ctx`` tokens of context where that is less than was meant.

    ``layers`` are those on the graphics card where more were meant to be, and ``is_alone`` says that a build that was
    meant to write ahead does not. ``""`` where all is as it was meant.
    """
    parts = [] if n_ctx is None else [f"reads at most {_tokens(n_ctx)} at once"]
    parts += ["keeps what it reads in fewer bits, so answers may differ a little"] if fewer_bits else []
    parts += [] if layers is None else [f"runs {layers} layers on the graphics card, which is slower"]
    parts += ["writes without a smaller build ahead of it, which is slower"] if is_alone else []
    return f"There was too little memory: this build now {' and '.join(parts)}." if parts else ""


def drawn_with_less(rung: str, size: tuple[int, int] | None) -> str:
    """Of a build that draws and found too little memory; ``size`` is that of the picture where it is smaller."""
    how = _RUNGS.get(rung, "")
    smaller = "" if size is None else f"draws {size[0]} x {size[1]} pixels"
    return f"There was too little memory: this build now {' and '.join(filter(None, (how, smaller)))}."


_RUNGS = {
    "tiled": "puts large pictures together from tiles",
    "half": "computes in 16 bits, so pictures may differ a little",
    "int8": "keeps its weights in 8 bits, so pictures differ a little",
    "offload": "keeps only the part that works on the graphics card",
    "sequential": "keeps only the layer that works on the graphics card, which takes longer",
}


def unread(pictures: int, sounds: int, unanswered: int) -> str:
    """Of the messages just before the prompt, what no text follows from."""
    kinds = ((pictures, "picture", ""), (sounds, "sound", ""), (unanswered, "prompt", " without an answer"))
    parts = [f"{number} {noun}{'' if number == 1 else 's'}{rest}" for number, noun, rest in kinds if number]
    verb = "was" if pictures + sounds + unanswered == 1 else "were"
    return f"{' and '.join(parts)} before this prompt {verb} not read: only answered text is."


def undrawn(files: Sequence[str], *, and_picture: bool = False) -> str:
    """Of the files of a picture's prompt, those that are not the picture to change."""
    verb = "was" if len(files) == 1 else "were"
    read = "and one picture" if and_picture else "alone"
    return f"{', '.join(files)} {verb} not read: a picture is drawn from the typed words {read}."


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"
