"""Copying to the system's clipboard through the system's own program, where there is one."""

import os
import shutil
import subprocess

_PROGRAMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "pbcopy", ()),
    ("WAYLAND_DISPLAY", "wl-copy", ()),
    ("DISPLAY", "xclip", ("-selection", "clipboard")),
    ("DISPLAY", "xsel", ("--clipboard", "--input")),
    ("WSL_DISTRO_NAME", "clip.exe", ()),
)
_PICTURE_PROGRAMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", "wl-copy", ("--type", "image/png")),
    ("DISPLAY", "xclip", ("-selection", "clipboard", "-t", "image/png")),
)


def copy_by_program(text: str) -> bool:
    """Hand ``text`` to the first program that takes it; ``False`` where none is there or none could."""
    for variable, program, arguments in _PROGRAMS:
        found = shutil.which(program)
        if found is None or (variable and not os.environ.get(variable)):
            continue
        if _hand_over([found, *arguments], text.encode()):
            return True
    return False


def copy_picture(png: bytes) -> bool:
    """Hand a picture to the first program that takes one; ``False`` where none is there or none could."""
    for variable, program, arguments in _PICTURE_PROGRAMS:
        found = shutil.which(program)
        if found is not None and os.environ.get(variable) and _hand_over([found, *arguments], png):
            return True
    return False


def _hand_over(command: list[str], content: bytes) -> bool:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, input=content, stdout=quiet, stderr=quiet, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
