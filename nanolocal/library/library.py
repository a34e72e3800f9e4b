"""The builds on this device: those in nanolocal's own folders and those adopted in place, nothing copied."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.pipeline_folder import INDEX
from nanolocal.library.adopted import Adopted, Entry
from nanolocal.library.bases import with_bases
from nanolocal.library.companions import projectors_of
from nanolocal.library.descriptions import Descriptions
from nanolocal.library.discover import folder
from nanolocal.library.duplicates import merge
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.found import Found, Part, Problem, Role
from nanolocal.library.health import Health
from nanolocal.library.naming import with_unique_ids
from nanolocal.library.records import Records

__all__ = ["Library", "Origin", "Problem"]

_MOST_NOTES = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a build lies: every place that holds it, the first being the one that is used.

    ``entries`` are those places that were adopted from other programs.
    """

    places: tuple[Path, ...]
    entries: tuple[Entry, ...] = ()


@dataclass(slots=True)
class _Contents:
    builds: tuple[Build, ...]
    origins: dict[str, Origin]
    parts: tuple[Part, ...]
    problems: tuple[Problem, ...]
    missing: tuple[Entry, ...]


class Library:
    """Finds builds in ``directories`` and, where there is one, in the index of ``adopted`` ones.

    ``index`` keeps fingerprints between starts, and a file beside it descriptions. ``records``, by default beside it
    too, say which builds are set aside.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        index: Path,
        adopted: Adopted | None = None,
        records: Records | None = None,
    ) -> None:
        self.directories = tuple(directories)
        self.adopted = adopted
        self.records = records or Records(index.with_name("records.json"))
        self.health = Health(self.records)
        self.descriptions = Descriptions(index.with_name("descriptions.json"), Fingerprints(index))
        self._contents: _Contents | None = None

    def builds(self) -> tuple[Build, ...]:
        """Every usable build, by id."""
        return self._look().builds

    def problems(self) -> tuple[Problem, ...]:
        """What was found and refused."""
        return self._look().problems

    def adapters(self) -> tuple[Part, ...]:
        """LoRA adapters: they change a build and are none."""
        return self._parts(Role.ADAPTER)

    def controlnets(self) -> tuple[Part, ...]:
        """ControlNets, which make a picture follow another: the folder of each, or its file."""
        return self._parts(Role.CONTROLNET)

    def _parts(self, role: Role) -> tuple[Part, ...]:
        return tuple(part for part in self._look().parts if part.role is role)

    def notes(self) -> list[str]:
        """What the user should know besides: adopted files that are gone, a damaged index."""
        roots: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._look().missing:
            roots.setdefault((entry.store, entry.root), []).append(entry)
        gone = [note for (store, root), entries in roots.items() for note in _gone(store, root, entries)]
        return gone + [index.note for index in (self.adopted, self.records) if index is not None and index.note]

    def origin(self, build: Build) -> Origin:
        """Where ``build`` lies."""
        return self._look().origins.get(build.id, Origin((build.path,)))

    def get(self, build_id: str) -> Build:
        """The build of that id, model or name elsewhere; raises ``UsageError`` naming what there is."""
        builds = self.builds()
        matches = [build for build in builds if build.answers_to(build_id)]
        if matches:
            return max(matches, key=lambda build: (build.id == build_id, build.size_bytes))
        known = ", ".join(build.id for build in builds[:20]) or "none"
        more = f" and {len(builds) - 20} more" if len(builds) > 20 else ""
        raise UsageError(f"no build is called {build_id!r}", f"stored here: {known}{more}")

    def adopt(self, path: Path) -> Build:
        """Add the GGUF file or pipeline folder at ``path`` for as long as this library is open, copying nothing.

        Raises ``UsageError`` when it is neither, ``Damaged`` when it does not add up.
        """
        if not path.exists():
            raise UsageError(f"there is no file {path}", "nanolocal models list")
        if path.is_dir() and not (path / INDEX).is_file():
            raise UsageError(
                f"{path} is a folder without a model_index.json", "give a .gguf file or a diffusers folder"
            )
        build = self.descriptions.of(Found(path))
        if isinstance(build, Problem):
            raise Damaged(build.reason, build.hint or "get the file again")
        if isinstance(build, Part):
            raise UsageError(f"{path.name} is {build.what} and no model", "give the model it belongs to")
        contents = self._look()
        known = next((other for other in contents.builds if other.path.resolve() == build.path.resolve()), None)
        if known is None:
            # a name that can be stored
            own = replace(build, id=os.fsencode(path).decode("utf-8", "replace"))
            known = self._marked(with_bases([own, *contents.builds])[0])
            contents.builds = (*contents.builds, known)
        return known

    def forget(self) -> None:
        """Look again when next asked: files or the index have changed."""
        self._contents = None

    def mark(self) -> None:
        """Say anew which builds are set aside, without looking at any file again."""
        contents = self._look()
        contents.builds = tuple(self._marked(build) for build in contents.builds)

    def _marked(self, build: Build) -> Build:
        why = self.health.why_not(build)
        return build if build.set_aside == why else replace(build, set_aside=why)

    def _look(self) -> _Contents:
        if self._contents is None:
            self._contents = self._read()
            self.descriptions.save()
        return self._contents

    def _read(self) -> _Contents:
        listed: list[tuple[Build, Entry | None]] = []
        parts: list[tuple[Part, Entry | None]] = []
        problems: list[Problem] = []
        missing: list[Entry] = []
        for found, entry in self._everything(problems):
            try:
                described = self.descriptions.of(found)
            except FileNotFoundError:
                if entry is not None:
                    missing.append(entry)
                continue
            if isinstance(described, Problem):
                problems.append(described)
            elif isinstance(described, Part):
                parts.append((described, entry))
            else:
                listed.append((adopted_build(described, entry) if entry else _called(described, found), entry))
        projectors = projectors_of([b for b, entry in listed if entry is None], [p for p, e in parts if e is None])
        listed = [(self._seeing(b, projectors.get(b.path, b.projector)), e) for b, e in listed]
        based = with_bases([build for build, _ in listed])
        listed = [(build, entry) for build, (_, entry) in zip(based, listed, strict=True)]
        merged = merge(listed, self.descriptions.fingerprints)
        builds = with_unique_ids(self._marked(build) for build, _, _ in merged)
        by_path = {build.path: build.id for build in builds}
        return _Contents(
            builds=builds,
            origins={by_path[build.path]: Origin(places, entries) for build, places, entries in merged},
            parts=tuple({part.path: _named_part(part, entry) for part, entry in parts}.values()),
            problems=tuple(problems),
            missing=tuple(missing),
        )

    def _seeing(self, build: Build, projector: Path | None) -> Build:
        """``build`` with the projector and the memory that takes; one that is gone or does not add up is none."""
        if projector is None:
            return build
        try:
            part = self.descriptions.of(Found(projector))
        except FileNotFoundError:
            return replace(build, projector=None)
        if not isinstance(part, Part) or part.role is not Role.PROJECTOR:
            return replace(build, projector=None)
        known = build.footprint
        footprint = known and replace(known, looking=part.memory, per_token=known.per_token + known.wider)
        return replace(build, projector=projector, senses=part.senses, footprint=footprint)

    def _everything(self, problems: list[Problem]) -> Iterator[tuple[Found, Entry | None]]:
        seen: set[Path] = set()
        for directory in filter(Path.is_dir, self.directories):
            for found in folder.read(directory, lambda text: None):
                if isinstance(found, Problem):
                    problems.append(found)
                elif found.path not in seen:
                    seen.add(found.path)
                    yield found, None
        for entry in self.adopted.entries() if self.adopted is not None else ():
            found = entry.found
            if found.path not in seen:
                yield found, entry


def _named_part(part: Part, entry: Entry | None) -> Part:
    """A part that was adopted has its name in its store."""
    return replace(part, name=entry.known_as) if entry is not None and entry.known_as else part


def _gone(store: str, root: str, entries: list[Entry]) -> list[str]:
    """One note for each file that is gone, or one for all when a whole store seems to be."""
    if len(entries) > _MOST_NOTES:
        return [f"{len(entries)} models are gone from {root} ({store}), so they are left out"]
    return [f"{entry.shown} is gone from {entry.path}, so it is left out" for entry in entries]


def _called(described: Build, found: Found) -> Build:
    """A build of an own folder; where that holds a whole store, it answers to its name there."""
    return replace(described, aliases=(found.known_as,)) if found.known_as else described


def adopted_build(described: Build, entry: Entry) -> Build:
    """``described`` with the names and the projector that its store gives it."""
    projector = Path(entry.projector) if entry.projector else None
    aliases = (entry.known_as,) if entry.known_as else ()
    return replace(described, name=entry.shown, projector=projector, aliases=aliases)
