"""Small versions of the vault's pictures, kept in memory for as long as the gallery is open."""

from collections import OrderedDict

from nanolocal.chat.ports import Gallery
from nanolocal.errors import NanolocalError
from nanolocal.tui.graphics import pixels

_SIZE = 256
_MOST = 120


class Thumbnails:
    """At most some 120 of them, 256 pixels wide or high."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def kept(self, id: str) -> bytes | None:
        """The one of picture ``id``, empty where it cannot be read; ``None`` where it has not been made."""
        if id in self._kept:
            self._kept.move_to_end(id)
        return self._kept.get(id)

    def make(self, id: str) -> None:
        """Decrypt and shrink picture ``id``; may block."""
        try:
            small = pixels.thumbnail(self._gallery.picture(id).data, _SIZE)
        except NanolocalError:
            small = b""
        self._kept[id] = small
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
