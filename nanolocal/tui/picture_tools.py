"""What can be done with a stored picture without a conversation. Every call may block."""

from collections.abc import Callable
from pathlib import Path

from nanolocal.chat.drawing import StoredPicture
from nanolocal.chat.messages import Attachment
from nanolocal.chat.ports import Gallery
from nanolocal.errors import UsageError
from nanolocal.tui import clipboard
from nanolocal.tui.graphics import pixels
from nanolocal.tui.newfile import free_name, write_new
from nanolocal.tui.privatefiles import PrivateFiles

_MOST_SHOWN = 2048


class PictureTools:
    """``files`` are those that another program shows, ``leaving`` makes the file in which a picture leaves the vault.

    ``changed`` are conversations that have lost a picture.
    """

    def __init__(self, gallery: Gallery, files: PrivateFiles, leaving: Callable[[Attachment], bytes]) -> None:
        self.changed: set[str] = set()
        self._gallery = gallery
        self._files = files
        self._leaving = leaving

    def to_show(self, picture: StoredPicture) -> tuple[bytes, tuple[int, int]]:
        """A file no larger than a screen can show, and the picture's own width and height."""
        data = self._gallery.picture(picture.id).data
        whole = pixels.read(data)
        if max(whole.size) <= _MOST_SHOWN:
            return data, whole.size
        return pixels.as_png(pixels.within(whole, (_MOST_SHOWN, _MOST_SHOWN))), whole.size

    def open(self, picture: StoredPicture) -> None:
        """Show it in the system's viewer."""
        self._files.show(self._leaving(self._gallery.picture(picture.id)))

    def copy(self, picture: StoredPicture) -> None:
        """Put the picture itself on the system's clipboard."""
        if not clipboard.copy_picture(self._leaving(self._gallery.picture(picture.id))):
            raise UsageError("no program here copies pictures", "install wl-clipboard or xclip; s saves the picture")

    def save(self, picture: StoredPicture, path: Path) -> None:
        """Write it to a file, never over another."""
        write_new(path, self._leaving(self._gallery.picture(picture.id)))

    def delete(self, picture: StoredPicture) -> None:
        """Erase it."""
        self._gallery.delete_picture(picture.id)
        self.changed.add(picture.chat_id)

    def attachment(self, picture: StoredPicture) -> Attachment:
        """As it goes with a prompt."""
        stored = self._gallery.picture(picture.id)
        return Attachment(stored.name, stored.media_type, stored.data)


def suggested_name(picture: StoredPicture) -> str:
    """A name that is free here."""
    receipt = picture.receipt
    return free_name(f"picture-{receipt.seed}" if receipt else "picture", ".png")
