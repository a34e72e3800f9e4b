"""Names of builds."""

import re
from collections.abc import Iterable
from dataclasses import replace

from nanolocal.chat.routes import Build

QUANTIZATION = re.compile(r"[-._](I?Q\d\w*|BF16|F16|F32|MXFP4|TQ\d_0)$", re.IGNORECASE)
"""How the name of a file, without its suffix, ends with its quantization."""


def slug(name: str) -> str:
    """``name`` in the letters that the id of a build is made of; ``latest`` as a tag says nothing."""
    plain = re.sub(r":latest$", "", name.lower())
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")[:80] or "model"


def with_unique_ids(builds: Iterable[Build]) -> tuple[Build, ...]:
    """The builds by id, ``#2`` and so on added where two have the same."""
    taken: set[str] = set()
    unique: list[Build] = []
    for build in sorted(builds, key=lambda build: (build.id, str(build.path))):
        build_id, n = build.id, 2
        while build_id in taken:
            build_id, n = f"{build.id}#{n}", n + 1
        taken.add(build_id)
        unique.append(build if build_id == build.id else replace(build, id=build_id))
    return tuple(unique)
