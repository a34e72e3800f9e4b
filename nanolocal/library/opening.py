"""Opening the library of a home; needs no vault."""

from pathlib import Path

from nanolocal.library.adopted import Adopted
from nanolocal.library.library import Library
from nanolocal.library.records import Records
from nanolocal.paths import Paths, starter_models
from nanolocal.settings import Settings


def open_library(paths: Paths, settings: Settings) -> Library:
    """The builds on this device: the starter builds, the user's own folders, and what was adopted."""
    folders = [starter_models(), paths.models, *(Path(name).expanduser() for name in settings.model_directories)]
    directories = [folder for folder in folders if folder.is_dir()]
    return Library(directories, paths.index, Adopted(paths.adopted), Records(paths.records))
