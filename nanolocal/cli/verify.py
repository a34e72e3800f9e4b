"""``nanolocal vault verify``: whether everything is whole, who could read it, and whether anything leaves a trace."""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from nanolocal.checks import Check, State
from nanolocal.cli import canary, output
from nanolocal.cli.common import Subparsers, given_secret, is_quiet, open_vault, paths_of, wants_json
from nanolocal.errors import Damaged, NanolocalError, UsageError, VaultLocked

_MARKS = {State.OK: ("ok", 32), State.WARNING: ("note", 33), State.WRONG: ("WRONG", 31), State.SKIPPED: ("-", 2)}
WHOLE, READERS, TRACES = "Is everything whole?", "Can anybody else read it?", "Does anything leave a trace?"


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
        if self.is_shown:
            output.line(question)
        for check in checks:
            self.progress.clear()
            found.append(check)
            if self.is_shown:
                output.marked(*_MARKS[check.state], check.says[0].upper() + check.says[1:])
            self.progress.show("still looking ...")
        self.progress.clear()

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


_LEFT_OUT = Check("tried", State.SKIPPED, "not tried with --quick")


def _whole(args: argparse.Namespace, report: _Report) -> Iterator[Check]:
    """Open the vault and read all of it; raises ``VaultLocked``, and ``UsageError`` where there is none."""
    from nanolocal import bootstrap

    try:
        if bootstrap.vault_state(paths_of(args)) is bootstrap.VaultState.ABSENT:
            raise _NoVault(f"there is no vault in {paths_of(args).vault}", "start nanolocal to make one")
        with open_vault(args) as vault:
            report.progress.show("reading everything in the vault ...")
            yield from vault.checks()
            report.messages = vault.database.execute("SELECT count(*) FROM message")[0][0]
            anchor = vault.anchor
            report.entries = bootstrap.open_wallet(vault).verify((anchor.seq, anchor.head)).entries
        says = f"the ledger's entries follow on each other, and their sum is the balance: {report.entries:,}"
        yield Check("ledger", State.OK, says)
    except (VaultLocked, _NoVault):
        raise
    except NanolocalError as error:
        yield Check("opening", State.WRONG, error.message, error.hint)


class _NoVault(UsageError):
    """There is nothing to check."""


def _readers(args: argparse.Namespace) -> Iterator[Check]:
    from nanolocal.device import privacy
    from nanolocal.vault import exposure

    directory = paths_of(args).vault
    system = privacy.System.here()
    yield from exposure.checks(directory, given_secret(args))
    yield privacy.disk(system, directory)
    yield from privacy.memory_checks(system)


def _traces(args: argparse.Namespace, progress: output.Progress) -> Iterator[Check]:
    from nanolocal import bootstrap
    from nanolocal.settings import load as load_settings

    paths = paths_of(args)
    builds = bootstrap.open_library(paths, load_settings(paths.settings)).builds()
    features = (*canary.FEATURES, canary.THOROUGH) if args.thorough else canary.FEATURES
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
        for check in wrong:
            output.marked("-", 0, check.hint or check.says)
    elif report.found[TRACES] == [_LEFT_OUT]:
        output.line("Everything is whole. Whether anything leaves a trace was not tried.")
    else:
        output.line("Everything is whole, and nothing that was tried left a trace.")
    if safer:
        output.line(f"{len(safer)} thing{'' if len(safer) == 1 else 's'} could be safer:")
        for check in safer:
            output.marked("-", 0, check.hint)
