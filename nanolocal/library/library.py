"""The builds stored on this device: every folder searched, every header checked, nothing copied."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.library.describe import describe_gguf, describe_pipeline
from nanolocal.library.fingerprints import Fingerprints

_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that looks like a build but cannot be used, and why."""

    path: Path
    reason: str


class Library:
    """Finds builds in ``directories``; ``index`` keeps their fingerprints between starts."""

    def __init__(self, directories: Iterable[Path], index: Path) -> None:
        self._directories = tuple(directories)
        self._fingerprints = Fingerprints(index)
        self._found: tuple[tuple[Build, ...], tuple[Problem, ...]] | None = None

    def builds(self) -> tuple[Build, ...]:
        """Every usable build, by id."""
        return self._look()[0]

    def problems(self) -> tuple[Problem, ...]:
        """What was found and refused."""
        return self._look()[1]

    def get(self, build_id: str) -> Build:
        """The build of that id or of that model name; raises ``UsageError`` naming the nearest ones."""
        builds = self.builds()
        matches = [build for build in builds if build_id in (build.id, build.id.partition(":")[0])]
        if matches:
            return max(matches, key=lambda build: build.size_bytes)
        known = ", ".join(build.id for build in builds) or "none"
        raise UsageError(f"no build is called {build_id!r}", f"stored here: {known}")

    def adopt(self, path: Path) -> Build:
        """Add the GGUF file or pipeline folder at ``path`` for as long as this library is open, copying nothing.

        Raises ``UsageError`` when it is neither, ``Damaged`` when it does not add up.
        """
        if not path.exists():
            raise UsageError(f"there is no file {path}", "nanolocal models list")
        index = path / "model_index.json"
        if path.is_dir() and not index.is_file():
            raise UsageError(
                f"{path} is a folder without a model_index.json", "give a .gguf file or a diffusers folder"
            )
        build = self._describe(index if path.is_dir() else path)
        builds, problems = self._look()
        known = next((other for other in builds if other.path.resolve() == build.path.resolve()), None)
        if known is None:
            known = replace(build, id=str(path))
            self._found = (*builds, known), problems
        return known

    def _look(self) -> tuple[tuple[Build, ...], tuple[Problem, ...]]:
        if self._found is None:
            builds: list[Build] = []
            problems: list[Problem] = []
            for path in _candidates(self._directories):
                try:
                    builds.append(self._describe(path))
                except NanolocalError as error:
                    problems.append(Problem(path, error.message))
                except OSError as error:
                    problems.append(Problem(path, f"cannot be read: {error.strerror}"))
            self._fingerprints.save()
            self._found = _with_unique_ids(builds), tuple(problems)
        return self._found

    def _describe(self, path: Path) -> Build:
        if path.name == "model_index.json":
            return describe_pipeline(path.parent, self._fingerprints)
        return describe_gguf(path, self._fingerprints)


def _candidates(directories: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for directory in directories:
        for folder, subfolders, files in os.walk(directory):
            here = Path(folder)
            subfolders.sort()
            if len(here.relative_to(directory).parts) >= _MAX_DEPTH:
                subfolders.clear()
            names = ["model_index.json"] if "model_index.json" in files else sorted(files)
            if names == ["model_index.json"]:
                subfolders.clear()
            for name in names:
                path = here / name
                if (name == "model_index.json" or _is_first_gguf(name)) and path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield path


def _is_first_gguf(name: str) -> bool:
    """A GGUF file of its own or the first of a split one; vision projectors belong to their model."""
    lower = name.lower()
    if not lower.endswith(".gguf") or lower.startswith("mmproj"):
        return False
    return "-of-" not in lower or "-00001-of-" in lower


def _with_unique_ids(builds: list[Build]) -> tuple[Build, ...]:
    taken: set[str] = set()
    unique: list[Build] = []
    for build in sorted(builds, key=lambda build: (build.id, str(build.path))):
        build_id, n = build.id, 2
        while build_id in taken:
            build_id, n = f"{build.id}#{n}", n + 1
        taken.add(build_id)
        unique.append(replace(build, id=build_id))
    return tuple(unique)
