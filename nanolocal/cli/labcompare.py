"""``nanolocal compress compare A B``: two builds by what was measured of them."""

import argparse
from collections.abc import Sequence

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.cli import output
from nanolocal.cli.common import paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings

_NONE = "-"


def run(args: argparse.Namespace, names: Sequence[str]) -> int:
    """Show both side by side; raises ``UsageError`` unless two builds are named."""
    from nanolocal.library import opening
    from nanolocal.library.cards import report_beside

    if len(names) != 2:
        raise UsageError("two builds are compared", "nanolocal compress compare A B")
    paths = paths_of(args)
    library = opening.open_library(paths, load_settings(paths.settings))
    builds = [library.get(name) for name in names]
    reports = [report_beside(build.path) for build in builds]
    if wants_json(args):
        rows = [{"build": build.id, "bytes": build.size_bytes, "sha256": build.sha256, "report": dict(report)}
                for build, report in zip(builds, reports, strict=True)]  # fmt: skip
        output.as_json({"builds": rows})
        return 0
    told = [_facts(build) for build in builds]
    for label in dict.fromkeys(label for facts in told for label in facts):
        output.line(label)
        for build, facts in zip(builds, told, strict=True):
            output.fact(build.quantization, facts.get(label, _NONE))
    for build, report in zip(builds, reports, strict=True):
        if not report:
            output.note(f"{build.id} was not made by the lab: of its loss nothing was measured here")
    return 0


def _facts(build: Build) -> dict[str, str]:
    from nanolocal.compress.report import lines
    from nanolocal.library.cards import report_beside

    size = {"size": f"{build.id}, {format_bytes(build.size_bytes)}"}
    return size | dict(lines(report_beside(build.path)))
