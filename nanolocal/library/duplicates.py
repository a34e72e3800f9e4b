"""The same file in several places: by inode, or by SHA-256, listed once."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.library.adopted import Entry
from nanolocal.library.fingerprints import WHOLE_FILE_LIMIT, Fingerprints

Merged = tuple[Build, tuple[Path, ...], tuple[Entry, ...]]


def merge(listed: Iterable[tuple[Build, Entry | None]], fingerprints: Fingerprints) -> list[Merged]:
    """Each build once, the first place of each first, with all its places and the index entries among them.

    Large files whose fingerprints agree are compared in a thousand places as well, once.
    """
    groups: dict[str, list[list[tuple[Build, Entry | None]]]] = {}
    for build, entry in listed:
        known = "" if build.size_bytes > WHOLE_FILE_LIMIT else build.sha256
        group = groups.setdefault(f"{build.kind}{build.size_bytes}{known}", [])
        for same in group:
            if _is_same(same[0][0], build, fingerprints):
                same.append((build, entry))
                break
        else:
            group.append([(build, entry)])
    return [_merged(same) for group in groups.values() for same in group]


def _is_same(one: Build, other: Build, fingerprints: Fingerprints) -> bool:
    """By their hashes, where both are whole or the ends differ; else by what is all over the files."""
    partial = [build.sha256.startswith("part:") for build in (one, other)]
    if not any(partial) or (all(partial) and one.sha256 != other.sha256):
        return one.sha256 == other.sha256
    try:
        if os.path.samefile(one.path, other.path):  # noqa: PTH121
            return True
        return one.path.is_file() and other.path.is_file() and fingerprints.are_alike(one.path, other.path)
    except OSError:
        return False


def _merged(same: list[tuple[Build, Entry | None]]) -> Merged:
    first = same[0][0]
    if len(same) == 1:
        return first, (first.path,), tuple(entry for _, entry in same if entry is not None)
    places = tuple(dict.fromkeys(build.path for build, _ in same))
    aliases = tuple(dict.fromkeys(alias for build, _ in same for alias in build.aliases))
    seeing = next((build for build, _ in same if build.projector is not None), first)
    entries = tuple(entry for _, entry in same if entry is not None)
    seen = replace(first, aliases=aliases, projector=seeing.projector, senses=seeing.senses, footprint=seeing.footprint)
    return seen, places, entries
