"""Files that go with a prompt: named after ``/attach``, or as a word that starts with ``@``."""

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat import media, sounds
from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.messages import Attachment
from nanolocal.errors import UsageError

MOST_TEXT_BYTES = 1_000_000
MOST_PICTURE_BYTES = 20_000_000
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_OTHERS = "a PNG, JPEG, WebP, GIF, WAV, MP3 or FLAC"
_WORD = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|(\S+))')
_LIKE_A_PATH = re.compile(r"^(~|\.{0,2}/)|/")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt after its ``@`` words were read: the text names the files, the files are attached."""

    text: str
    attachments: tuple[Attachment, ...]


def read(path: Path) -> Attachment:
    """Read a text file, a picture or a sound; raises ``UsageError`` saying why another cannot be attached."""
    path = path.expanduser()
    sound = sounds.type_of(path.name)
    media_type = sound or mimetypes.guess_type(path.name)[0] or "text/plain"
    most = media.MOST_BYTES if sound else MOST_PICTURE_BYTES if media_type in _PICTURES else MOST_TEXT_BYTES
    try:
        if not path.is_file():
            raise UsageError(f"no such file: {path}", "check the name; /attach FILE or @FILE")
        length = path.stat().st_size
        if length > most:
            raise UsageError(f"{path.name} is too large: {format_bytes(length)}", f"at most {format_bytes(most)}")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check that you may read it") from error
    if sound:
        return media.checked_sound(Attachment(path.name, sound, data))
    if media_type not in _PICTURES:
        _check_text(path.name, data)
        media_type = media_type if media_type.startswith("text/") else "text/plain"
    return Attachment(path.name, media_type, data)


def split(text: str) -> Prompt:
    """Read every ``@path`` in ``text``; a word that is no file and does not look like one stays as it is."""
    found: list[Attachment] = []

    def replace(match: re.Match[str]) -> str:
        word = match[1] or match[2]
        path = Path(word).expanduser()
        if not path.is_file() and not match[1] and not _LIKE_A_PATH.search(word):
            return match[0]
        found.append(read(path))
        return path.name

    return Prompt(_WORD.sub(replace, text), tuple(found))


def complete(start: str, limit: int = 8) -> list[str]:
    """Paths that ``start`` may become; folders end with a slash."""
    folder, _, prefix = start.rpartition("/")
    place = Path(f"{folder}/" if start.startswith("/") or folder else ".").expanduser()
    try:
        entries = sorted(place.iterdir(), key=lambda entry: entry.name.lower())
    except OSError:
        return []
    shown = [entry for entry in entries if entry.name.lower().startswith(prefix.lower())]
    visible = [entry for entry in shown if prefix.startswith(".") or not entry.name.startswith(".")]
    head = f"{folder}/" if "/" in start else ""
    return [f"{head}{entry.name}{'/' if entry.is_dir() else ''}" for entry in visible[:limit]]


def _check_text(name: str, data: bytes) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is neither text (UTF-8) nor {_OTHERS}", "convert it first") from error
    if "\x00" in text:
        raise UsageError(f"{name} is a binary file", "attach text, a picture or a sound")
