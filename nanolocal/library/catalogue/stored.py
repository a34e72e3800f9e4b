"""Which model of the catalogue a stored build is of, and under which licence it is."""

import re

from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged
from nanolocal.formats.gguf import read_facts
from nanolocal.library.catalogue.entries import Model
from nanolocal.library.catalogue.shelf import Catalogue

_OPEN = re.compile(
    r"(?:apache[- ]2\.0|mit|bsd(?:-[23]-clause)?|isc|cc0-1\.0|cc-by-4\.0|unlicense|the unlicense|0bsd|zlib)"
    r"(?: and (?:apache-2\.0|mit))?",
    re.IGNORECASE,
)
_LIMITS = (
    # (what a licence that limits the use is called, what its name says of the limit)
    (re.compile(r"\bnc\b|non-?\s?commercial|\bresearch\b", re.IGNORECASE), "not for commercial use"),
    (re.compile(r"non-?\s?production", re.IGNORECASE), "not for production"),
    (re.compile(r"rail", re.IGNORECASE), "it forbids the uses that it lists"),
    (re.compile(r"\bllama", re.IGNORECASE), "its acceptable-use policy forbids some uses"),
    (re.compile(r"\bgemma\b", re.IGNORECASE), "its prohibited-use policy forbids some uses"),
)
_OWN_TERMS = "it has terms of its own, which may limit the use"


def model_of(build: Build, catalogue: Catalogue) -> Model | None:
    """The model by what the file's header, its path and its names elsewhere say; ``None`` rather than a guess."""
    return catalogue.match(build, _metadata(build), tag=build.aliases[0] if build.aliases else "")


def limit_of(licence: str) -> str:
    """What a licence limits, in words; empty where it is known to leave every use free."""
    if _OPEN.fullmatch(licence.strip()):
        return ""
    return next((words for pattern, words in _LIMITS if pattern.search(licence)), _OWN_TERMS)


def first_words(build: Build, model: Model | None) -> str:
    """The sentence on its licence that is said before ``build`` answers for the first time."""
    name = model.name if model is not None else build.name
    licence = model.licence if model is not None else build.licence
    where = f", {model.licence_url}" if model is not None else ""
    if not licence:
        return f"{name} answers for the first time. Its licence is not known: its file and the catalogue say none"
    limit = limit_of(licence)
    return f"{name} answers for the first time. Licence: {licence}{f' ({limit})' if limit else ''}{where}"


def _metadata(build: Build) -> dict[str, object] | None:
    if not build.path.is_file() or build.path.suffix == ".safetensors":
        return None
    try:
        return dict(read_facts(build.path).metadata)
    except (Damaged, OSError):
        return None
