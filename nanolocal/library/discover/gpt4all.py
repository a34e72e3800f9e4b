"""GPT4All: plain GGUF files in one folder.

Layout (nomic-ai/gpt4all, gpt4all-bindings/python/docs/gpt4all_desktop/settings.md, "Download Path")::

    ~/.local/share/nomic.ai/GPT4All/<file>.gguf     macOS: ~/Library/Application Support/nomic.ai/GPT4All

The Python bindings use ``~/.cache/gpt4all``; ``modelPath`` in GPT4All.ini names another folder.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover.folder import found_in
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_text
from nanolocal.library.walk import Walk

NAME = "GPT4All"
_CHOSEN = re.compile(r"^modelPath\s*=\s*(.+?)\s*$", re.MULTILINE)


def places(system: System) -> list[Path]:
    """Where GPT4All keeps models on ``system``."""
    usual = [system.local_data / "nomic.ai" / "GPT4All", system.home / ".cache" / "gpt4all"]
    try:
        chosen = _CHOSEN.search(read_text(system.config / "nomic.ai" / "GPT4All.ini"))
    except (OSError, Damaged):
        return usual
    return [system.expand(chosen.group(1).strip('"')), *usual] if chosen else usual


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every model file; what is not finished is called incomplete-... and left out."""
    walk = Walk(root, tell, max_depth=1)
    for folder in walk.folders():
        folder.files = [name for name in folder.files if not name.startswith("incomplete-")]
        for found in found_in(folder):
            yield replace(found, known_as=found.path.name) if isinstance(found, Found) else found
    yield from (problem for problem in walk.problems if "levels down" not in problem.reason)
