"""``nanolocal models bench --tune``: the fastest settings of builds, looked for and kept; and what is known of them."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from nanolocal.chat.routes import Kind
from nanolocal.chat.tuning import USUAL, Tuned, Tuning, in_words
from nanolocal.cli import output
from nanolocal.cli.common import given_passphrase, is_quiet, paths_of, wants_json
from nanolocal.errors import NanolocalError, NoBuildFits

if TYPE_CHECKING:
    import asyncio

    from nanolocal.bootstrap import Session, Tried
    from nanolocal.chat.routes import Build
    from nanolocal.vault.tunings import Tunings

_HEADER = ("BUILD", "SETTING", "SPEED", "TAKEN")


async def tune_all(
    args: argparse.Namespace, session: "Session", builds: "Sequence[Build]", progress: output.Progress
) -> int:
    """Look for each of ``builds``; Ctrl+C ends it and keeps what was found for those before."""
    import asyncio

    from nanolocal.cli.turns import ended_by_signals

    if not builds:
        raise NoBuildFits("no stored build writes text here", "nanolocal models list")
    stop, end = asyncio.Event(), asyncio.Event()
    shown = _Shown(progress)
    try:
        with ended_by_signals(stop, end):
            for build in builds:
                progress.show(f"{build.id}: it is loaded; this takes a minute or more")
                try:
                    if not await _tune(session, build, shown, stop):
                        break
                except NanolocalError as error:
                    if args.build:
                        raise
                    output.note(f"{build.id}: {error.message}")
    finally:
        await session.engines.close()
    progress.clear()
    shown.end(args)
    if stop.is_set():
        output.note("stopped; what was found for builds before is kept")
    return 130 if stop.is_set() else 0


async def _tune(session: "Session", build: "Build", shown: "_Shown", stop: "asyncio.Event") -> bool:
    """Tune one build and keep what was found; false when stopped."""
    import asyncio

    from nanolocal import bootstrap

    def tell(tried: "Tried") -> None:
        shown.take(build, tried)

    memory = session.machine.memory_budget(session.settings.memory_mb)
    draws = build.kind is Kind.IMAGE
    tuned = (
        bootstrap.tune_pictures(session, build, tell) if draws else bootstrap.tune(build, session.library, memory, tell)
    )
    work = asyncio.create_task(tuned)
    ending = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
    if work.cancelled():
        return False
    found, gain = work.result()
    _tunings(session, build).keep(build.sha256, found, gain)
    shown.found(build, found, gain)
    return True


class _Shown:
    """What was tried and found, for the end; progress meanwhile."""

    def __init__(self, progress: output.Progress) -> None:
        self._progress = progress
        self._tried: list[tuple[Build, Tried]] = []
        self._found: list[tuple[Build, Tuning, float]] = []

    def take(self, build: "Build", tried: "Tried") -> None:
        """A setting was tried."""
        self._tried.append((build, tried))
        self._progress.show(f"{build.id}: with {tried.what} {tried.ratio:.2f} times as fast")

    def found(self, build: "Build", tuning: Tuning, gain: float) -> None:
        """A build is done."""
        self._found.append((build, tuning, gain))

    def end(self, args: argparse.Namespace) -> None:
        """Print it all."""
        if wants_json(args):
            output.as_json({"builds": [self._as_json(*each) for each in self._found]})
            return
        rows = [
            (build.id, each.what, f"{each.ratio:.2f}x", "yes" if each.is_taken else "-") for build, each in self._tried
        ]
        if rows:
            output.table(rows, _HEADER)
            output.line()
        for build, tuning, gain in self._found:
            faster = f"runs {gain:.2f} times as fast with {in_words(tuning)}"
            output.line(f"{build.id} {faster if gain != 1.0 else 'runs as usual: nothing is certainly faster here'}")
        if self._found and not is_quiet(args):
            output.note("settings hold from the next load on; --usual forgets them")

    def _as_json(self, build: "Build", tuning: Tuning, gain: float) -> dict[str, object]:
        tried = [asdict(each) for other, each in self._tried if other is build]
        return {"build": build.id, "tuning": asdict(tuning), "gain": round(gain, 4), "tried": tried}


def forget(args: argparse.Namespace, session: "Session", builds: "Sequence[Build]") -> int:
    """Run builds as usual again."""
    forgotten = [build.id for build in builds if _tunings(session, build).forget(build.sha256)]
    if wants_json(args):
        output.as_json({"forgotten": forgotten})
    else:
        output.line(f"runs as usual again: {', '.join(forgotten)}" if forgotten else "nothing was tuned")
    return 0


def _tunings(session: "Session", build: "Build") -> "Tunings":
    """Where it is kept what was found for a build of that kind."""
    from nanolocal import bootstrap

    if build.kind is Kind.IMAGE:
        return bootstrap.open_picture_tunings(session.vault, session.machine)
    return session.tunings


def tuning_of(args: argparse.Namespace, build: "Build") -> Tuning:
    """How ``build`` runs here, without a draft, where the vault that knows it opens without asking anybody."""
    from nanolocal import bootstrap
    from nanolocal.device import machine

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return USUAL
    try:
        tuned = bootstrap.open_tunings(vault, machine.inspect()).of(build.sha256)
    finally:
        vault.close()
    return USUAL if tuned is None else replace(tuned.tuning, draft="")


def facts_of(args: argparse.Namespace, build: "Build") -> dict[str, object]:
    """What the vault knows of how ``build`` runs fastest, where it opens without asking anybody."""
    from nanolocal import bootstrap
    from nanolocal.device import machine

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return {}
    try:
        opened = bootstrap.open_picture_tunings if build.kind is Kind.IMAGE else bootstrap.open_tunings
        tunings = opened(vault, machine.inspect())
        tuned, gains = tuned_in(tunings, (build,)), tunings.gains(build.sha256)
    finally:
        vault.close()
    facts: dict[str, object] = {"tuned": tuned[build.id]} if tuned else {}
    return facts | ({"guessing_gain": gains} if gains else {})


def tuned_in(tunings: "Tunings", builds: "Sequence[Build]") -> dict[str, str]:
    """How those of ``builds`` run that were tuned here, by id."""
    found = {build.id: tunings.of(build.sha256) for build in builds}
    return {build_id: _words(tuned) for build_id, tuned in found.items() if tuned is not None}


def _words(tuned: Tuned) -> str:
    return in_words(tuned.tuning) + (f", {tuned.gain:.2f} times as fast" if tuned.gain != 1.0 else "")
