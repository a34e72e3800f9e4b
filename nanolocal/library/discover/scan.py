"""Reading stores: every file described, projectors joined to their models, nothing copied and nothing changed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.library.adopted import Entry
from nanolocal.library.bases import with_bases
from nanolocal.library.companions import projectors_of
from nanolocal.library.descriptions import Descriptions
from nanolocal.library.discover.stores import Target
from nanolocal.library.found import UNREADABLE, Found, Part, Problem, Role
from nanolocal.library.library import adopted_build


@dataclass(slots=True)
class Report:
    """What one store holds: builds and parts with their entries for the index, and what was refused."""

    target: Target
    builds: list[tuple[Build, Entry]] = field(default_factory=list)
    parts: list[tuple[Part, Entry]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def root(self) -> str:
        """Where the store lies, as the index knows it."""
        return str(self.target.root.absolute())

    def entries(self) -> list[Entry]:
        """What is to be adopted: builds, adapters and components; projectors go with their models."""
        parts = [entry for part, entry in self.parts if part.role is not Role.PROJECTOR]
        return [entry for _, entry in self.builds] + parts

    @property
    def is_unreadable(self) -> bool:
        """Whether the store could not be looked at, which is not the same as being empty."""
        refused = any(problem.reason.startswith(UNREADABLE) for problem in self.problems)
        return not self.builds and not self.parts and refused


def scan(targets: Iterable[Target], descriptions: Descriptions, tell: Callable[[str], None]) -> list[Report]:
    """Read every target; ``tell`` hears what is looked at. What was hashed stays known when interrupted."""
    try:
        return [_read(target, descriptions, tell) for target in targets]
    finally:
        descriptions.save()


def merged_entries(before: Sequence[Entry], reports: Iterable[Report], own: Iterable[Path] = ()) -> list[Entry]:
    """The index after a scan: what was read replaces what was known of the same places, the rest stays.

    What lies in the folders of ``own`` is found at every start anyway and is not adopted.
    """
    readable = [report for report in reports if not report.is_unreadable]
    read = {report.root for report in readable}
    folders = [folder.absolute() for folder in own]
    found = [entry for report in readable for entry in report.entries()]
    adopted = [entry for entry in found if not any(Path(entry.path).is_relative_to(folder) for folder in folders)]
    return [entry for entry in before if entry.root not in read] + adopted


def _read(target: Target, descriptions: Descriptions, tell: Callable[[str], None]) -> Report:
    report = Report(target)
    for found in target.store.read(target.root.absolute(), tell):
        if isinstance(found, Problem):
            report.problems.append(found)
            continue
        tell(f"{target.store.name}: {found.known_as or found.path.name}")
        described = _described(found, descriptions)
        if isinstance(described, Problem):
            report.problems.append(described)
            continue
        entry = _entry(target, found, report, descriptions)
        if isinstance(described, Part):
            report.parts.append((described, entry))
        else:
            report.builds.append((described, entry))
    _join(report)
    return report


def _described(found: Found, descriptions: Descriptions) -> Build | Part | Problem:
    try:
        return descriptions.of(found)
    except FileNotFoundError:
        return Problem(found.path, f"{found.path.name} is gone")


def _entry(target: Target, found: Found, report: Report, descriptions: Descriptions) -> Entry:
    """For the index; a projector that is none is refused, and its model is adopted without it."""
    projector = ""
    if found.projector is not None:
        described = _described(Found(found.projector), descriptions)
        if isinstance(described, Part) and described.role is Role.PROJECTOR:
            projector = str(found.projector)
        else:
            reason = described.reason if isinstance(described, Problem) else "it is no projector"
            report.problems.append(Problem(found.projector, f"cannot give {found.known_as} its senses: {reason}"))
    return Entry(str(found.path), target.store.name, report.root, found.known_as, found.model, projector)


def _join(report: Report) -> None:
    """Give models the projectors that lie beside them, and builds the names they have in the store."""
    alone = [build for build, entry in report.builds if not entry.projector]
    beside = projectors_of(alone, [part for part, _ in report.parts])
    joined: list[tuple[Build, Entry]] = []
    for build, known in report.builds:
        entry = replace(known, projector=str(beside[build.path])) if build.path in beside else known
        joined.append((adopted_build(build, entry), entry))
    based = with_bases([build for build, _ in joined])
    report.builds = [(build, entry) for build, (_, entry) in zip(based, joined, strict=True)]


def used_projectors(report: Report) -> set[Path]:
    """The projectors that some model of the store uses."""
    return {Path(entry.projector) for _, entry in report.builds if entry.projector}
