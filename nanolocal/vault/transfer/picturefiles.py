"""Picture files on their way out of the vault and into it: without any trace unless asked, and with what they tell."""

import hashlib
from dataclasses import replace
from io import BytesIO

from nanolocal import __version__
from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.messages import Attachment, Role
from nanolocal.errors import Damaged, UsageError
from nanolocal.safetext import safe, safe_line
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import comfy, media, parameters, png

_OURS, _COMMON = "nanolocal", "parameters"
_MOST_PIXELS = 2**26
_LONGEST_TITLE = 60


def leaving(picture: Attachment, *, with_metadata: bool = False) -> bytes:
    """The file of a picture as PNG: its pixels and nothing else.

    With metadata also what it was drawn with, in the form of AUTOMATIC1111 and as the receipt that draws it once more;
    a file of the user's then leaves as it came. Raises ``UsageError`` for a picture that cannot be read.
    """
    if not with_metadata:
        return png.bare(picture.data if png.is_png(picture.data) else _as_png(picture.data))
    if not picture.receipt:
        return picture.data
    receipt = PictureReceipt.from_json(picture.receipt)
    texts = {_COMMON: parameters.written(receipt, __version__), _OURS: picture.receipt}
    return png.with_texts(picture.data if png.is_png(picture.data) else _as_png(picture.data), texts)


def settings_in(data: bytes) -> PictureReceipt | None:
    """What a picture file tells of how it was drawn: by nanolocal, AUTOMATIC1111 and those after it, or ComfyUI.

    ``None`` where it tells nothing, or is no PNG. What it tells is made safe to show.
    """
    if not png.is_png(data):
        return None
    texts = png.texts(data)
    receipt = _own(texts.get(_OURS, "")) or parameters.read(texts.get(_COMMON, "")) or comfy.read(texts)
    return None if receipt is None else _harmless(receipt)


def as_chat(name: str, data: bytes, made_at: float) -> ImportedChat:
    """A picture file as a conversation: the prompt that its settings tell, and the picture as the answer.

    One without settings is what the user attached. ``made_at`` in seconds since 1970. Raises ``UsageError`` for what is
    no picture.
    """
    bare = media.attachment(name, data)
    if not bare.media_type.startswith("image/"):
        raise UsageError(f"{safe_line(name)} is no picture", "give a PNG, JPEG, WebP or GIF file")
    if png.is_png(data):
        png.bare(data)
    receipt = settings_in(data)
    source = f"picture:{hashlib.sha256(data).hexdigest()}"
    if receipt is None:
        asked = ImportedMessage("0", None, Role.USER, "", made_at, None, (bare,))
        return ImportedChat(source, safe_line(name)[:_LONGEST_TITLE], made_at, made_at, None, (asked,))
    drawn = Attachment(bare.name, bare.media_type, data, _filled(receipt, data).to_json())
    asked = ImportedMessage("0", None, Role.USER, receipt.prompt, made_at)
    answer = ImportedMessage("1", "0", Role.ASSISTANT, "", made_at, receipt.build_id or None, (drawn,), "image_gen")
    title = safe_line(receipt.prompt)[:_LONGEST_TITLE] or safe_line(name)[:_LONGEST_TITLE]
    return ImportedChat(source, title, made_at, made_at, None, (asked, answer))


def _own(text: str) -> PictureReceipt | None:
    try:
        return PictureReceipt.from_json(text) if text else None
    except Damaged:
        return None


def _filled(receipt: PictureReceipt, data: bytes) -> PictureReceipt:
    """With the size of the file where the settings tell none."""
    width, height = png.size_of(data)
    return replace(receipt, width=receipt.width or width, height=receipt.height or height)


def _harmless(receipt: PictureReceipt) -> PictureReceipt:
    most = parameters.MOST_CHARACTERS
    return replace(
        receipt,
        prompt=safe(receipt.prompt[:most]),
        negative=safe(receipt.negative[:most]),
        build_id=safe_line(receipt.build_id[:200]),
        build_sha256=safe_line(receipt.build_sha256[:64]),
        controlnet=safe_line(receipt.controlnet[:200]),
        adapters=tuple((safe_line(name[:200]), weight) for name, weight in receipt.adapters[:32]),
    )


def _as_png(data: bytes) -> bytes:
    """Any picture that Pillow reads, the right way up."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # 60 ms, and only for files of the user's

    try:
        with Image.open(BytesIO(data), formats=("JPEG", "WEBP", "GIF", "BMP", "TIFF")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise UsageError("the picture is too large", "save it with --with-metadata, as it came")
            upright = ImageOps.exif_transpose(picture).convert("RGBA" if "A" in picture.getbands() else "RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError("the picture cannot be read", "save it with --with-metadata, as it came") from error
    out = BytesIO()
    upright.save(out, "PNG")
    return out.getvalue()
