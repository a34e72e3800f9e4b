"""The two themes, calm and with a contrast of at least 4.5 to 1 for everything that is read."""

from textual.theme import Theme

DARK = Theme(
    name="nanolocal-dark",
    primary="#8ab4f8",
    secondary="#9aa5b8",
    accent="#7fd1b9",
    warning="#e6c27a",
    error="#f28b82",
    success="#8fce9b",
    foreground="#e3e6eb",
    background="#14171c",
    surface="#1b1f26",
    panel="#242932",
    boost="#1f242c",
    dark=True,
    variables={
        "quiet": "#8f98a8",
        "rule": "#2c323c",
        "block-cursor-background": "#2b3a55",
        "block-cursor-blurred-background": "#2b3a55",
        "block-cursor-blurred-foreground": "#ffffff",
        "block-cursor-blurred-text-style": "none",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "input-selection-background": "#8ab4f8 35%",
        "footer-background": "#14171c",
        "scrollbar": "#343b47",
        "scrollbar-background": "#14171c",
        "scrollbar-background-hover": "#14171c",
        "scrollbar-background-active": "#14171c",
    },
)

LIGHT = Theme(
    name="nanolocal-light",
    primary="#1f5fbf",
    secondary="#55607a",
    accent="#0b6e58",
    warning="#8a5a00",
    error="#b3261e",
    success="#1d6b34",
    foreground="#1d2129",
    background="#fbfbfa",
    surface="#f3f3f1",
    panel="#e9e9e6",
    boost="#f0f0ee",
    dark=False,
    variables={
        "quiet": "#626a78",
        "rule": "#d9dad6",
        "block-cursor-background": "#d5e3f8",
        "block-cursor-blurred-background": "#d5e3f8",
        "block-cursor-blurred-foreground": "#10141b",
        "block-cursor-blurred-text-style": "none",
        "block-cursor-foreground": "#10141b",
        "block-cursor-text-style": "none",
        "input-selection-background": "#1f5fbf 25%",
        "footer-background": "#fbfbfa",
        "scrollbar": "#c9cbc6",
        "scrollbar-background": "#fbfbfa",
        "scrollbar-background-hover": "#fbfbfa",
        "scrollbar-background-active": "#fbfbfa",
    },
)

THEMES = {"dark": DARK, "light": LIGHT}


def other(name: str) -> str:
    """The name of the theme that is not ``name``."""
    return LIGHT.name if name == DARK.name else DARK.name
