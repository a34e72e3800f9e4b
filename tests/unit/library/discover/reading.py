"""Reading a store in a test: what it turns up by name, and what it refuses."""

from collections.abc import Sequence
from pathlib import Path

from nanolocal.library.descriptions import Descriptions
from nanolocal.library.discover.scan import Report, scan
from nanolocal.library.discover.stores import Target, target_for, usual_targets
from nanolocal.library.discover.system import System
from nanolocal.library.fingerprints import Fingerprints


def descriptions(index: Path) -> Descriptions:
    return Descriptions(index / "descriptions.json", Fingerprints(index / "builds.json"))


def read(targets: Sequence[Target], cache: Path) -> list[Report]:
    return scan(targets, descriptions(cache), lambda text: None)


def at_home(home: Path, **environ: str) -> list[Report]:
    """What is found in the usual places of a Linux home."""
    system = System(home, environ, "linux", home / "no-such-root")
    return read(usual_targets(system), home / "cache-of-test")


def in_folder(folder: Path, home: Path | None = None) -> Report:
    """What is found in a folder that the user names."""
    system = System(home or folder / "nobody", {}, "linux", folder / "no-such-root")
    return read([target_for(folder, system)], folder.parent / "cache-of-test")[0]


def names(*reports: Report) -> list[str]:
    return sorted(entry.shown for report in reports for _, entry in report.builds)


def parts(*reports: Report) -> list[tuple[str, str]]:
    return sorted((part.role.value, part.path.name) for report in reports for part, _ in report.parts)


def reasons(*reports: Report) -> list[str]:
    return [problem.reason for report in reports for problem in report.problems]
