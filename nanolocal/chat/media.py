"""Files that a model looks at or listens to: which of them a build takes in, and how many tokens they may become."""

from collections.abc import Iterable

from nanolocal.chat import sounds
from nanolocal.chat.messages import Attachment, Message
from nanolocal.chat.routes import Build
from nanolocal.chat.usage import PICTURE_TOKENS
from nanolocal.errors import UsageError

MOST_BYTES = 11 * 2**20
"""The files that go to an engine at once, which takes 16 MiB of text and base64 in one go."""


def is_picture(item: Attachment) -> bool:
    """Whether it is a picture."""
    return item.media_type.startswith("image/")


def is_sound(item: Attachment) -> bool:
    """Whether it is a sound."""
    return item.media_type.startswith("audio/")


def pictures(message: Message) -> tuple[Attachment, ...]:
    """The pictures of a message."""
    return tuple(item for item in message.attachments if is_picture(item))


def taken_in(message: Message, build: Build) -> tuple[Attachment, ...]:
    """What of a message's files ``build`` looks at or listens to."""
    return tuple(
        item
        for item in message.attachments
        if (build.sees and is_picture(item)) or (build.hears and heard(item) is not None)
    )


def heard(item: Attachment) -> sounds.Sound | None:
    """The sound of a file; ``None`` where that is none, or one that is not understood here: imported, damaged."""
    if not is_sound(item):
        return None
    try:
        return sounds.read_sound(item.data)
    except UsageError:
        return None


def length(item: Attachment) -> str:
    """``0:07`` for a sound, else nothing."""
    sound = heard(item)
    return "" if sound is None else sounds.in_minutes(sound.seconds)


def checked_sound(item: Attachment) -> Attachment:
    """The sound, if it can be heard; raises ``UsageError`` that names one too large, too long or not understood."""
    if len(item.data) > MOST_BYTES:
        raise UsageError(f"{item.name} is larger than {MOST_BYTES // 2**20} MiB", "save it as MP3, or cut it shorter")
    try:
        sounds.read_sound(item.data)
    except UsageError as error:
        raise UsageError(f"{item.name}: {error.message}", error.hint) from error
    return item


def for_engine(item: Attachment) -> bytes:
    """The file as an engine gets it: of a sound nothing but that."""
    return sounds.read_sound(item.data).data if is_sound(item) else item.data


def most_tokens(items: Iterable[Attachment]) -> int:
    """The most tokens that pictures and sounds may become."""
    return sum(_tokens(item, PICTURE_TOKENS) for item in items)


def likely_tokens(items: Iterable[Attachment]) -> int:
    """A number of tokens that they hardly exceed: half of what a picture may become is room enough for most."""
    return sum(_tokens(item, PICTURE_TOKENS // 2) for item in items)


def _tokens(item: Attachment, of_picture: int) -> int:
    """None for a sound that nothing here can listen to: it goes nowhere."""
    if not is_sound(item):
        return of_picture
    sound = heard(item)
    return 0 if sound is None else sound.most_tokens
