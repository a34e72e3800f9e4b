"""``nanolocal vault verify``: whether everything is whole, who could read it, and whether anything leaves a trace."""

import argparse
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from nanolocal.checks import Check, State
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, given_secret, is_quiet, open_vault, paths_of, wants_json
from nanolocal.errors import Damaged, UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.vault.vault import Vault

_MARKS = {State.OK: ("ok", 32), State.WARNING: ("note", 33), State.WRONG: ("WRONG", 31), State.SKIPPED: ("-", 2)}
WHOLE, READERS, TRACES = "Is everything whole?", "Can anybody else read it?", "Does anything leave a trace?"
_LEFT_OUT = Check("tried", State.SKIPPED, "not tried with --quick")


@dataclass(slots=True)
class _Report:
    """What was found, by question; ``messages`` and ``entries`` are counted where they can be read."""

    progress: output.Progress
    is_shown: bool
    found: dict[str, list[Check]] = field(default_factory=dict)
    messages: int | None = None
    entries: int | None = None

    def answer(self, question: str, checks: Iterable[Check]) -> None:
        """Run the checks, and show each as soon as it is done."""
        found = self.found[question] = []
        for check in checks:
            self.progress.clear()
            if self.is_shown and not found:
                output.line(question)
            found.append(check)
            if self.is_shown:
                output.marked(*_MARKS[check.state], check.says[0].upper() + check.says[1:])

    def those(self, state: State, *questions: str) -> list[Check]:
        """What ended so, under these questions or all."""
        return [check for name in questions or self.found for check in self.found[name] if check.state is state]


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("verify", parents=[common], help="check the vault and its privacy on this machine")
    parser.add_argument("--quick", action="store_true", help="without trying every feature for traces it leaves")
    parser.add_argument("--thorough", action="store_true", help="draw a picture for that, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run every check and print the report; raises ``Damaged`` at its end when something is wrong."""
    from nanolocal import bootstrap
    from nanolocal.hardening import harden_process

    harden_process()
    paths = paths_of(args)
    with suppress(Damaged):  # the report will say it
        if bootstrap.vault_state(paths) is bootstrap.VaultState.ABSENT:
            raise UsageError(f"there is no vault in {paths.vault}", "start nanolocal to make one")
    report = _Report(output.Progress(is_quiet(args)), is_shown=not wants_json(args))
    report.answer(WHOLE, _whole(args, report))
    report.answer(READERS, _readers(args))
    report.answer(TRACES, [_LEFT_OUT] if args.quick else _traces(args, report.progress))
    if wants_json(args):
        output.as_json(_as_json(report))
    else:
        _conclude(report)
    if wrong := report.those(State.WRONG):
        raise Damaged("; ".join(check.says for check in wrong), wrong[0].hint)
    return 0


def _whole(args: argparse.Namespace, report: _Report) -> Iterator[Check]:
    """Open the vault and read all of it; raises ``VaultLocked``, or ``UsageError`` where the vault is not to blame."""
    from nanolocal.vault import exposure

    try:
        with open_vault(args) as vault:
            yield from vault.checks(report.progress.show)
            yield _ledger(vault, report)
    except Damaged as error:
        yield Check("opening", State.WRONG, error.message, error.hint)
    except UsageError as error:
        is_open = exposure.permissions(paths_of(args).vault)
        if is_open.state is State.OK:
            raise
        yield Check("opening", State.WRONG, error.message, is_open.hint)


def _ledger(vault: "Vault", report: _Report) -> Check:
    from nanolocal import bootstrap

    anchor = vault.anchor
    try:
        report.messages = vault.database.execute("SELECT count(*) FROM message")[0][0]
        report.entries = bootstrap.open_wallet(vault).verify((anchor.seq, anchor.head)).entries
    except Damaged as error:
        return Check("ledger", State.WRONG, error.message, error.hint)
    says = f"the ledger's entries are in order and add up to the balance ({report.entries:,})"
    return Check("ledger", State.OK, says)


def _readers(args: argparse.Namespace) -> Iterator[Check]:
    """Look at files and system; needs no open vault."""
    from nanolocal.device import privacy
    from nanolocal.vault import exposure

    secret = None
    with suppress(Damaged):
        secret = given_secret(args)
    directory = paths_of(args).vault
    system = privacy.System.here()
    yield from exposure.checks(directory, secret)
    yield privacy.disk(system, directory)
    yield from privacy.memory_checks(system)


def _traces(args: argparse.Namespace, progress: output.Progress) -> Iterator[Check]:
    from nanolocal import bootstrap
    from nanolocal.cli import canary
    from nanolocal.cli.features import FEATURES, THOROUGH

    paths = paths_of(args)
    stored = bootstrap.open_library(paths, load_settings(paths.settings)).builds()
    builds = tuple(build for build in stored if not build.needs)
    features = (*FEATURES, THOROUGH) if args.thorough else FEATURES
    yield from canary.run(paths, builds, progress.show, features)


def _as_json(report: _Report) -> dict[str, object]:
    checks = [{"question": name, **asdict(check)} for name, found in report.found.items() for check in found]
    return {
        "whole": not report.those(State.WRONG, WHOLE),
        "private": not report.those(State.WRONG, READERS, TRACES),
        "messages": report.messages,
        "entries": report.entries,
        "checks": checks,
    }


def _conclude(report: _Report) -> None:
    """One sentence, and what to do next."""
    wrong, safer = report.those(State.WRONG), report.those(State.WARNING)
    output.line()
    if wrong:
        things = "One thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
        output.line(f"{things} wrong. What to do:")
        _list(wrong)
    elif report.found[TRACES] == [_LEFT_OUT]:
        output.line("Everything is whole. Whether anything leaves a trace was not tried.")
    else:
        output.line("Everything is whole, and nothing that was tried left a trace.")
    if safer:
        output.line(f"{len(safer)} thing{'' if len(safer) == 1 else 's'} could be safer:")
        _list(safer)


def _list(checks: list[Check]) -> None:
    """What to do next, each once."""
    for hint in dict.fromkeys(check.hint or check.says for check in checks):
        for line in textwrap.wrap(hint, 80, initial_indent="  - ", subsequent_indent="    ", break_long_words=False):
            output.line(line)
