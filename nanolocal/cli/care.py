"""``nanolocal models verify`` and ``release``: whether the files of builds are what they should be."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, given_passphrase, is_quiet, paths_of, wants_json
from nanolocal.errors import Damaged
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.chat.routes import Build
    from nanolocal.library.verify import BuildCheck, Subject

_MARKS = {"ok": ("ok", 32), "first-time": ("new", 33), "damaged": ("WRONG", 31)}
_SHOWN_EVERY_S = 0.1
_MINUTE = 60
_MOST_NAMED = 3


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the commands."""
    verify = parts.add_parser("verify", parents=[common], help="read files whole and compare their SHA-256")
    verify.add_argument("build", metavar="BUILD", nargs="*", help="these builds alone")
    verify.set_defaults(run=run_verify)
    release = parts.add_parser("release", parents=[common], help="use a build again that was set aside")
    release.add_argument("build", metavar="BUILD")
    release.set_defaults(run=run_release)


def run_verify(args: argparse.Namespace) -> int:
    """Check builds; raises ``Damaged`` at the end when one is. Ctrl+C keeps what was found until then."""
    from nanolocal.library import opening, verify

    paths = paths_of(args)
    library = opening.open_library(paths, load_settings(paths.settings))
    chosen = verify.subjects(library, args.build)
    reading = _Reading(output.Progress(is_quiet(args) or wants_json(args)), verify.total_size(chosen))
    verifier = verify.Verifier(library, reading)
    checks: list[BuildCheck] = []
    try:
        for subject in chosen:
            reading.name = subject.name
            checks.append(verifier.check(subject))
            reading.progress.clear()
            if not wants_json(args):
                _show(checks[-1])
    finally:
        reading.progress.clear()
        freed = [build.id for build in verifier.finish()]
        _carry_prices(args, verifier.known_better)
    if wants_json(args):
        output.as_json({"builds": [_as_json(check) for check in checks], "used_again": freed, "bytes": reading.done})
    else:
        _conclude(checks, freed, reading)
    for note in library.notes():
        output.note(note)
    damaged = [check.subject for check in checks if check.verdict == "damaged"]
    if damaged:
        raise Damaged(_what_is_damaged(damaged), _mend(damaged))
    return 0


def run_release(args: argparse.Namespace) -> int:
    """Let a build be used again, and take its files as they are; raises ``UsageError`` for an unknown name."""
    from nanolocal.library import opening, verify

    paths = paths_of(args)
    library = opening.open_library(paths, load_settings(paths.settings))
    build = library.get(args.build)
    library.health.release(build)
    for subject in verify.subjects(library, [build.id]):
        for path in subject.files:
            library.records.put_hashed(path, None)
    library.records.save()
    if wants_json(args):
        output.as_json({"build": build.id, "was_set_aside": build.set_aside})
    elif not is_quiet(args):
        output.line(f"{build.id} is used again" if build.set_aside else f"{build.id} was not set aside")
    for note in library.notes():
        output.note(note)
    return 0


def _carry_prices(args: argparse.Namespace, known_better: "Sequence[tuple[Build, Build]]") -> None:
    """A price is set for a build by its hash: where that is known better now, the user's price goes along."""
    from nanolocal import bootstrap
    from nanolocal.ledger.prices import ESTIMATED

    paths = paths_of(args)
    if not known_better or bootstrap.vault_state(paths) is bootstrap.VaultState.ABSENT:
        return
    vault = bootstrap.peek(paths, given_passphrase(args))
    if vault is None:
        names = ", ".join(build.id for build, _ in known_better)
        output.note(f"the vault is locked: if you set prices for {names}, set them again (nanolocal credits prices)")
        return
    try:
        wallet = bootstrap.open_wallet(vault, load_settings(paths.settings))
        cards = [(wallet.shown_price(before), after) for before, after in known_better]
        for card, build in cards:
            if card.source != ESTIMATED and wallet.problem is None:
                wallet.set_price(replace(card, build_sha256=build.sha256))
    finally:
        vault.close()


class _Reading:
    """How far the reading has come; called with the bytes of each block."""

    def __init__(self, progress: output.Progress, total: int) -> None:
        self.progress = progress
        self.name = ""
        self.done = 0
        self.began = time.monotonic()
        self._total = total
        self._shown = 0.0

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._shown < _SHOWN_EVERY_S:
            return
        self._shown = now
        rate = self.done / max(now - self.began, 1e-6)
        left = _duration((self._total - self.done) / rate) if rate else "?"
        share = self.done / self._total if self._total else 1
        self.progress.show(
            f"{share:.0%} of {format_bytes(self._total)}, {format_bytes(int(rate))}/s, {left} left: {self.name}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _show(check: "BuildCheck") -> None:
    """One paragraph a build: the file that tells most, and how many more ended so."""
    telling = check.telling
    if telling is None:
        return
    alike = [each for each in check.files if each.verdict == telling.verdict and each.says == telling.says]
    more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
    changed = " (written anew since it was read last)" if telling.is_changed and telling.verdict == "ok" else ""
    what = f"{check.subject.name}, {format_bytes(check.subject.size)}"
    output.marked(*_MARKS[check.verdict], f"{what}: {telling.path.name}{more}: {telling.says}{changed}")


def _conclude(checks: "Sequence[BuildCheck]", freed: Sequence[str], reading: _Reading) -> None:
    if not checks:
        output.line("there is nothing to check: no builds are stored")
        return
    for build_id in freed:
        output.line(f"{build_id} was set aside and is used again: its file is another one now")
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in _MARKS}
    words = f"{counts['ok']} ok, {counts['first-time']} for the first time, {counts['damaged']} damaged"
    output.line(f"{words}; {format_bytes(reading.done)} read in {_duration(time.monotonic() - reading.began)}")


def _what_is_damaged(damaged: "Sequence[Subject]") -> str:
    names = ", ".join(subject.name for subject in damaged[:_MOST_NAMED])
    more = f" and {len(damaged) - _MOST_NAMED} more" if len(damaged) > _MOST_NAMED else ""
    return f"{names}{more} {'is' if len(damaged) == 1 else 'are'} damaged, and not used any more"


def _mend(damaged: "Sequence[Subject]") -> str:
    pulled = [subject.name for subject in damaged if subject.is_pulled]
    if pulled:
        return f"nanolocal models repair {pulled[0]}"
    return "get the file again; if you know that it is right: nanolocal models release " + damaged[0].name


def _as_json(check: "BuildCheck") -> dict[str, object]:
    files = [
        {
            "path": str(each.path),
            "verdict": each.verdict,
            "says": each.says,
            "sha256": each.sha256,
            "changed": each.is_changed,
        }
        for each in check.files
    ]
    return {"build": check.subject.name, "verdict": check.verdict, "files": files, "bytes": check.subject.size}
