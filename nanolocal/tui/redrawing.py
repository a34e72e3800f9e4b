"""The turns that draw a stored picture again, vary or enlarge it. All may block: they look into vault and library."""

from nanolocal.chat.drawing import Drawing, StoredPicture
from nanolocal.chat.messages import Attachment, TurnRequest, Wishes
from nanolocal.chat.redrawing import Redrawing, Studio, like, redrawing
from nanolocal.errors import NoBuildFits, UsageError

MODERATE = 0.5
"""How much of a picture a variation may change."""


def again(studio: Studio, picture: StoredPicture, seed: int) -> Redrawing:
    """The same from another seed; raises ``UsageError`` where too little is left of what went in."""
    if picture.receipt is not None:
        return redrawing(studio, picture, picture.receipt, Wishes(seed=seed))
    if not picture.made_here:
        raise UsageError("this picture was not drawn here", "v makes a variation of it")
    return Redrawing(TurnRequest(picture.prompt, wishes=Wishes(picture=True, seed=seed)))


def varied(studio: Studio, picture: StoredPicture, file: Attachment, seed: int) -> Redrawing:
    """The picture itself, changed moderately."""
    wishes, notes = Wishes(picture=True, seed=seed, drawing=Drawing(strength=MODERATE)), tuple[str, ...]()
    if picture.receipt is not None:
        wishes, notes = like(studio, picture.receipt, wishes)
    prompt = picture.receipt.prompt if picture.receipt is not None else picture.prompt
    return Redrawing(TurnRequest(prompt, (file,), wishes), notes)


def enlarged(studio: Studio, picture: StoredPicture, file: Attachment, seed: int) -> Redrawing:
    """The picture itself, larger; raises ``NoBuildFits`` where no stored build does that."""
    if not any(build.upscales for build in studio.library.builds()):
        raise NoBuildFits("no stored build can enlarge a picture", "nanolocal models pull fetches one that does")
    prompt = picture.receipt.prompt if picture.receipt is not None else ""
    wishes = Wishes(picture=True, seed=seed, drawing=Drawing(upscales=True))
    return Redrawing(TurnRequest(prompt, (file,), wishes))
