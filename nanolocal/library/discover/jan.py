"""Jan: one folder a model, with a model.yml that says where the files are.

Layout (janhq/jan, extensions/llamacpp-extension/src/index.ts, src-tauri/src/core/app/commands.rs)::

    <data>/llamacpp/models/<id>/model.yml      model_path, mmproj_path (below <data>, or absolute), name, size_bytes
    <data>/models/...                          older: GGUF files in folders

``<data>`` is JAN_DATA_FOLDER, else ``data_folder`` in Jan's settings.json, else ``Jan/data`` where programs keep data;
``~/jan`` in old releases.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover import folder, yamls
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_object, read_text
from nanolocal.library.walk import Walk

NAME = "Jan"


def places(system: System) -> list[Path]:
    """Jan's data folders on ``system``."""
    chosen = [system.named("JAN_DATA_FOLDER")]
    for settings in (system.data / "Jan", system.data / "jan.ai.app", system.config / "Jan"):
        try:
            value = read_object(settings / "settings.json").get("data_folder")
        except (OSError, Damaged):
            continue
        chosen.append(system.expand(value) if isinstance(value, str) and value else None)
    return [*(path for path in chosen if path is not None), system.data / "Jan" / "data", system.home / "jan"]


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every model with a model.yml, and the files of older releases."""
    models = root / "llamacpp" / "models"
    if models.is_dir():
        walk = Walk(models, tell)
        for place in walk.folders():
            if "model.yml" in place.files:
                place.subfolders.clear()
                yield from _model(root, place.path, place.path.relative_to(models).as_posix())
        yield from walk.problems
    if (root / "models").is_dir():
        yield from folder.read(root / "models", tell)


def _model(root: Path, place: Path, name: str) -> Iterator[Found | Problem]:
    try:
        facts = yamls.flat(read_text(place / "model.yml"))
        weights = _file(root, facts.get("model_path", ""))
        projector = _file(root, facts["mmproj_path"]) if facts.get("mmproj_path") else None
    except Damaged as error:
        yield Problem(place / "model.yml", error.message)
    except OSError as error:
        yield Problem(place / "model.yml", f"cannot be read: {error.strerror}")
    else:
        says_nothing = weights.stem in ("model", place.name)
        yield Found(weights, name, name.rpartition("/")[2] if says_nothing else "", projector)


def _file(root: Path, text: str) -> Path:
    """The file that a model.yml names; raises ``Damaged`` where there is none, or it leaves Jan's folder by ``..``."""
    path = Path(text)
    if not text or ".." in path.parts:
        raise Damaged(f"model.yml names the file {text[:80]!r}, which is no place in Jan's folder")
    path = path if path.is_absolute() else root / path
    if path.suffix.lower() != ".gguf":
        raise Damaged(f"model.yml names {path.name[:80]!r}, which is no GGUF file")
    if not path.is_file():
        raise Damaged(f"{path.name[:80]} is missing")
    return path
