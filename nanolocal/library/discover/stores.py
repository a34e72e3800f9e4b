"""The table of stores, and which of them a folder is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanolocal.library.discover import comfyui, folder, gpt4all, huggingface, jan, llamacpp, lmstudio, ollama
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem


@dataclass(frozen=True, slots=True)
class Store:
    """A program's way of keeping models: what people call it, where it is usually found, and how it is read."""

    name: str
    places: Callable[[System], list[Path]]
    read: Callable[[Path, Callable[[str], None]], Iterator[Found | Problem]]


@dataclass(frozen=True, slots=True)
class Target:
    """One store to read, where it lies."""

    store: Store
    root: Path


STORES = tuple(
    Store(store.NAME, store.places, store.read)
    for store in (ollama, lmstudio, jan, gpt4all, llamacpp, huggingface, comfyui)
)
FOLDER = Store(folder.NAME, lambda system: [], folder.read)


def usual_targets(system: System) -> list[Target]:
    """Every store that is there, each place once."""
    targets: dict[Path, Target] = {}
    for store in STORES:
        for place in store.places(system):
            if _is_dir(place):
                targets.setdefault(place.resolve(), Target(store, place))
    return list(targets.values())


def target_for(path: Path, system: System) -> Target:
    """How to read a folder that the user names: as the store that it is, else as any folder."""
    known = {target.root.resolve(): target.store for target in usual_targets(system)}
    if path.resolve() in known:
        return Target(known[path.resolve()], path)
    for store, is_it in _LOOKS_LIKE:
        if is_it(path):
            return Target(store, path)
    return Target(FOLDER, path)


def store_called(name: str) -> Store | None:
    """The store of that name, in any case and with or without spaces."""
    return {_plain(store.name): store for store in (*STORES, FOLDER)}.get(_plain(name))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _is_dir(path: Path) -> bool:
    """Whether there is a folder; one that may not be looked at counts, so that reading it says why."""
    try:
        return path.is_dir()
    except PermissionError:
        return True
    except OSError:
        return False


def _named(name: str) -> Store:
    return next(store for store in STORES if store.name == name)


_LOOKS_LIKE: tuple[tuple[Store, Callable[[Path], bool]], ...] = (
    (_named(ollama.NAME), lambda path: (path / "manifests").is_dir() and (path / "blobs").is_dir()),
    (_named(jan.NAME), lambda path: (path / "llamacpp" / "models").is_dir()),
    (_named(comfyui.NAME), comfyui.is_store),
    (_named(llamacpp.NAME), lambda path: any(path.glob("manifest=*.json"))),
    (_named(huggingface.NAME), lambda path: any(path.glob("models--*"))),
)
