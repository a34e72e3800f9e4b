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


def copy_by_program(text: str) -> bool:
    """Hand ``text`` to the first program that takes it; ``False`` where none is there or none could."""
    for variable, program, arguments in _PROGRAMS:
        found = shutil.which(program)
        if found is None or (variable and not os.environ.get(variable)):
            continue
        if _hand_over([found, *arguments], text):
            return True
    return False


def _hand_over(command: list[str], text: str) -> bool:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, input=text.encode(), stdout=quiet, stderr=quiet, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
