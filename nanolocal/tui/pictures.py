"""Which widget shows a finished picture: half-blocks, or the terminal's own picture protocol where that is safe."""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

from textual.widget import Widget

from nanolocal.tui.widgets.picture import PictureView


@cache
def protocol_widget() -> type[Widget] | None:
    """The widget of the optional package textual-image, where the terminal answers to Sixel or Kitty's protocol.

    ``None`` without them, under NO_COLOR, in tmux or screen, or without the package. Importing it asks the terminal
    what it can do, so the first call must come before the app runs.
    """
    multiplexed = "TMUX" in os.environ or os.environ.get("TERM", "").startswith(("screen", "tmux", "dumb"))
    if multiplexed or "NO_COLOR" in os.environ or find_spec("textual_image") is None:
        return None
    protocol = import_module("textual_image.renderable").Image.__module__
    if not protocol.endswith((".sixel", ".tgp")):
        return None
    widget = import_module("textual_image.widget").Image
    return widget if isinstance(widget, type) and issubclass(widget, Widget) else None


def picture_widget(data: bytes) -> Widget:
    """A widget that shows the PNG or JPEG ``data``."""
    protocol = protocol_widget()
    if protocol is None:
        return PictureView(data, classes="picture")
    return protocol(BytesIO(data), classes="picture protocol-picture")  # type: ignore[arg-type]
