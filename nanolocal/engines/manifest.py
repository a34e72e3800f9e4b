"""Checks a diffusers folder before any of its code or weights is touched.

The library does so when it lists a build; the engine does it again, whoever chose the folder.
"""

from pathlib import Path

from nanolocal.errors import BuildFailed, Damaged
from nanolocal.formats.pipeline_folder import PipelineFacts, check_folder


def check_pipeline(folder: Path) -> str:
    """The pipeline class of ``folder``; raises ``BuildFailed`` with the first thing that must not be loaded."""
    return facts_of(folder).pipeline


def facts_of(folder: Path) -> PipelineFacts:
    """All that its files say; raises ``BuildFailed`` as ``check_pipeline`` does."""
    try:
        return check_folder(folder)
    except Damaged as refused:
        raise BuildFailed(refused.message, refused.hint) from refused
