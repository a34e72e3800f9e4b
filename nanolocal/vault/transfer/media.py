"""Attachments out of foreign files: what kind they are is read from their bytes, not believed."""

import base64
import binascii
import mimetypes
from pathlib import PurePosixPath

from nanolocal.chat.messages import Attachment

_HEADS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
}


def attachment(name: str, data: bytes) -> Attachment:
    """A file with the last part of its name and its kind."""
    short = PurePosixPath(name.replace("\\", "/")).name or "file"
    return Attachment(short, _kind(short, data), data)


def from_data_url(url: str, name: str) -> Attachment | None:
    """The file in a ``data:...;base64,`` address, or ``None``."""
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return None
    suffix = mimetypes.guess_extension(head[len("data:") :].partition(";")[0]) or ""
    return attachment(name if PurePosixPath(name).suffix else name + suffix, data) if data else None


def is_picture(name: str) -> bool:
    """Whether a file of this name should be a picture."""
    return (mimetypes.guess_type(name)[0] or "").startswith("image/")


def _kind(name: str, data: bytes) -> str:
    for head, kind in _HEADS.items():
        if data.startswith(head):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    guessed = mimetypes.guess_type(name)[0] or ""
    return guessed if guessed.startswith("text/") else "text/plain"
