"""Arguments to commands, errors to exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import NoReturn

from nanolocal import __version__
from nanolocal.cli import output
from nanolocal.errors import NanolocalError, UsageError, place_of

_COMMANDS = {
    "ask": "ask", "image": "image", "chat": "chat", "route": "route", "compare": "compare", "models": "models",
    "compress": "compress", "bench": "sidebyside", "chats": "chats", "pictures": "pictures", "credits": "ledger",
    "receipt": "receipts", "vault": "vault", "doctor": "doctor",
}  # fmt: skip
"""Each command and its module in this package, in the order of the help."""
_INTERRUPTED = 130
_DESCRIPTION = "Private AI on this machine. Without a command: the terminal app."


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments the way every other error is reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help")


def entry() -> NoReturn:
    """The ``nanolocal`` command."""
    if not sys.flags.dev_mode:
        output.hush()
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    os.umask(0o077)
    try:
        return _run(arguments)
    except NanolocalError as problem:
        output.error(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        output.error(NanolocalError(f"{where}{problem.strerror or problem}", "nanolocal doctor"))
        return NanolocalError.exit_code
    except Exception as problem:
        if sys.flags.dev_mode:
            raise
        hint = "what was stored is safe; python -X dev -m nanolocal shows more"
        output.error(NanolocalError(f"the program ended on a fault ({place_of(problem)})", hint))
        return NanolocalError.exit_code


def _run(arguments: Sequence[str]) -> int:
    args = _build_parser(arguments).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = getattr(args, "run", _open_app)
    result = command(args)
    sys.stdout.flush()
    return result


def _modules(arguments: Sequence[str]) -> list[str]:
    """The module of the command that is given, so that no other is imported; all of them where none is for certain."""
    rest: Iterator[str] = iter(arguments)
    for argument in rest:
        if argument in ("--home", "--passphrase-file"):
            next(rest, None)
        elif argument not in ("--json", "--quiet"):
            return [_COMMANDS[argument]] if argument in _COMMANDS else list(_COMMANDS.values())
    return list(_COMMANDS.values())


def _build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--home", metavar="DIR", help="keep everything under DIR (also: NANOLOCAL_HOME)")
    common.add_argument("--passphrase-file", metavar="FILE", help="read the passphrase from FILE's first line")
    common.add_argument("--json", action="store_true", help="one JSON object on stdout")
    common.add_argument("--quiet", action="store_true", help="no progress and no remarks on stderr")
    parser = _Parser(prog="nanolocal", description=_DESCRIPTION, parents=[common])
    parser.add_argument("--version", action="version", version=f"nanolocal {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for module in _modules(arguments):
        import_module(f"nanolocal.cli.{module}").add(commands, common)
    return parser


def _open_app(args: argparse.Namespace) -> int:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise UsageError("the terminal app needs a terminal", 'nanolocal ask "your question"')
    from nanolocal.cli.common import given_passphrase, paths_of
    from nanolocal.running import registered
    from nanolocal.tui.app import run

    paths = paths_of(args)
    with registered(paths):
        return run(paths, given_passphrase(args))
