"""``nanolocal doctor``: what this machine has, what fits, what is missing."""

import argparse
import importlib.metadata
import platform
from typing import TYPE_CHECKING

from nanolocal import __version__
from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build, Kind
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, given_passphrase, paths_of, wants_json
from nanolocal.errors import NanolocalError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.device.machine import Machine

_PACKAGES = ("llama-cpp-python", "diffusers", "torch", "transformers", "textual", "sqlcipher3", "cryptography")


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", parents=[common], help="what this machine has, what fits, what is missing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Needs no vault and makes none; the ledger is looked at where that asks for nothing."""
    from nanolocal import bootstrap
    from nanolocal.device import privacy
    from nanolocal.device.machine import inspect
    from nanolocal.hardening import harden_process

    harden_process()
    paths = paths_of(args)
    settings = load_settings(paths.settings)
    machine = inspect()
    library = bootstrap.open_library(paths, settings)
    budget = machine.memory_budget(settings.memory_mb)
    report: dict[str, object] = {
        "nanolocal": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": _machine_as_json(machine),
        "memory_budget": budget,
        "builds": {build.id: _fits(build, budget) for build in library.builds()},
        "refused": {str(item.path): item.reason for item in library.problems()},
        "missing": _missing(library.builds()),
        "vault": bootstrap.vault_state(paths),
        "ledger": _ledger(args),
        "memory_privacy": {check.id: check.says for check in privacy.memory_checks(privacy.System.here())},
        "directories": {name: str(path) for name, path in paths.named().items()},
    }
    if wants_json(args):
        output.as_json(report)
    else:
        _show(report)
    return 0


def _show(report: dict[str, object]) -> None:
    for key, value in report.items():
        if isinstance(value, dict):
            output.line(f"{key}:")
            for name, item in value.items():
                output.line(f"  {name:20} {item}")
        elif isinstance(value, list):
            output.line(f"{key}: {', '.join(value) or 'nothing'}")
        elif key == "memory_budget" and isinstance(value, int):
            output.line(f"memory budget for engines: {format_bytes(value)}")
        else:
            output.line(f"{key}: {value}")


def _machine_as_json(machine: "Machine") -> dict[str, object]:
    return {
        "system": machine.system,
        "processor": machine.processor,
        "cores": machine.cores,
        "memory": format_bytes(machine.memory_total),
        "memory_free": format_bytes(machine.memory_available),
        "accelerators": ", ".join(machine.accelerators) or "none",
    }


def _fits(build: Build, budget: int) -> str:
    from nanolocal.routing.gates import DEFAULT_CONTEXT, memory_needed

    needed = memory_needed(build, min(build.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT))
    return f"{'fits' if needed <= budget else 'does not fit'}, needs about {format_bytes(needed)}"


def _ledger(args: argparse.Namespace) -> str:
    from nanolocal import bootstrap

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return "not looked at"
    problem: NanolocalError | None
    try:
        problem = bootstrap.open_wallet(vault).problem
    except NanolocalError as error:
        problem = error
    finally:
        vault.close()
    return "can be spent from" if problem is None else f"read-only: {problem.message}; {problem.hint} accepts it"


def _missing(builds: tuple[Build, ...]) -> list[str]:
    kinds = {build.kind for build in builds}
    missing = [f"a build that makes {kind}" for kind in (Kind.TEXT, Kind.IMAGE) if kind not in kinds]
    return missing + [f"the package {name}" for name in _PACKAGES if _version(name) == "missing"]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
