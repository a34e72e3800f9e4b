import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from textual.widget import Widget

from nanolocal.tui import pictures
from nanolocal.tui.widgets.picture import PictureView
from tests.tui.driving import picture


class ProtocolImage(Widget):
    """Stands where textual-image's widget would."""

    def __init__(self, image: object, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self.image = image


@pytest.fixture(autouse=True)
def _asks_again() -> Iterator[None]:
    pictures.protocol_widget.cache_clear()
    yield
    pictures.protocol_widget.cache_clear()


def _install(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """Put a package named textual_image in place whose terminal answers to ``protocol``."""
    for name in ("TMUX", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("textual_image", "textual_image.renderable", "textual_image.widget"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    chosen = type("Image", (), {"__module__": f"textual_image.renderable.{protocol}"})
    monkeypatch.setattr(sys.modules["textual_image.renderable"], "Image", chosen, raising=False)
    monkeypatch.setattr(sys.modules["textual_image.widget"], "Image", ProtocolImage, raising=False)


@pytest.mark.parametrize("protocol", ["sixel", "tgp"])
def test_a_terminal_with_a_picture_protocol_gets_it(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    _install(monkeypatch, protocol)
    assert isinstance(pictures.picture_widget(picture()), ProtocolImage)


@pytest.mark.parametrize(("variable", "value"), [("TMUX", "/tmp/s"), ("NO_COLOR", "1"), ("TERM", "screen-256color")])
def test_tmux_screen_and_no_color_get_half_blocks(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    _install(monkeypatch, "sixel")
    monkeypatch.setenv(variable, value)
    assert isinstance(pictures.picture_widget(picture()), PictureView)


def test_a_terminal_without_a_protocol_gets_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "halfcell")
    assert isinstance(pictures.picture_widget(picture()), PictureView)
