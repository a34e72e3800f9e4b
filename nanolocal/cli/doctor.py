"""``nanolocal doctor``: what this machine has, what fits, what is missing."""

import argparse
import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from nanolocal import __version__
from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build, Kind
from nanolocal.cli import checkup, output, tuning
from nanolocal.cli.common import Subparsers, given_passphrase, paths_of, wants_json
from nanolocal.errors import NanolocalError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.device.gpus import Gpu
    from nanolocal.device.machine import Machine

_PACKAGES = ("llama-cpp-python", "diffusers", "torch", "transformers", "textual", "sqlcipher3", "cryptography")
_LITTLE_DISK = 5 * 10**9
"""Bytes; a small chat model takes about half of that, and a download needs some to spare."""


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", parents=[common], help="what this machine has, what fits, what is missing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Needs no vault and makes none; the ledger is looked at where that asks for nothing."""
    from nanolocal import bootstrap
    from nanolocal.device import bandwidth, disk, gpus, privacy
    from nanolocal.device.machine import inspect
    from nanolocal.hardening import harden_process

    harden_process()
    paths = paths_of(args)
    settings = load_settings(paths.settings)
    machine, cards = inspect(), gpus.gpus()
    library = bootstrap.open_library(paths, settings)
    budget = machine.memory_budget(settings.memory_mb)
    abilities = bootstrap.llama_cpp_abilities()
    free = disk.free_bytes(paths.models)
    report: dict[str, object] = {
        "nanolocal": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": _machine_as_json(machine, cards),
        "llama_cpp": None if abilities is None else asdict(abilities),
        "memory_bandwidth": round(bandwidth.memory_bandwidth(paths.bandwidth)),
        "disk_free_bytes": free,
        "memory_budget": budget,
        "builds": {build.id: _fits(build, budget) for build in library.builds()},
        "set_aside": {build.id: build.set_aside for build in library.builds() if build.set_aside},
        "refused": {str(item.path): item.reason for item in library.problems()},
        "notes": library.notes(),
        "missing": _missing(library.builds()),
        "advice": [*_advice(machine, cards, abilities is not None and abilities.gpu_offload, free)],
        "vault": bootstrap.vault_state(paths),
        **_in_vault(args, machine, library.builds()),
        "isolation": asdict(bootstrap.engine_isolation()),
        "memory_privacy": {check.id: check.says for check in privacy.memory_checks(privacy.System.here())},
        "directories": {name: str(path) for name, path in paths.named().items()},
    }
    if wants_json(args):
        output.as_json(report)
    else:
        checkup.show(report)
    return 0


def _machine_as_json(machine: "Machine", cards: "Sequence[Gpu]") -> dict[str, object]:
    return {
        "system": machine.system,
        "processor": machine.processor,
        "cores": machine.cores,
        "cores_physical": machine.cores_physical,
        "cores_logical": machine.cores_logical,
        "cores_limit": machine.cores_limit,
        "memory": format_bytes(machine.memory_total),
        "memory_bytes": machine.memory_total,
        "memory_free": format_bytes(machine.memory_available),
        "memory_free_bytes": machine.memory_available,
        "memory_limit_bytes": machine.memory_limit,
        "swap_bytes": machine.swap_total,
        "swap_free_bytes": machine.swap_free,
        "accelerators": ", ".join(machine.accelerators) or "none",
        "graphics": [asdict(card) for card in cards],
        "battery": None if machine.battery is None else asdict(machine.battery),
    }


def _fits(build: Build, budget: int) -> str:
    from nanolocal.routing.gates import DEFAULT_CONTEXT, memory_needed

    needed = memory_needed(build, min(build.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT))
    return f"{'fits' if needed <= budget else 'does not fit'}, needs about {format_bytes(needed)}"


def _in_vault(args: argparse.Namespace, machine: "Machine", builds: tuple[Build, ...]) -> dict[str, object]:
    """What the vault says of the ledger and of tuned builds, where it opens without asking anybody."""
    from nanolocal import bootstrap

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return {"ledger": "not looked at", "tuned": {}}
    tuned = tuning.tuned_in(bootstrap.open_tunings(vault, machine), builds)
    problem: NanolocalError | None
    try:
        problem = bootstrap.open_wallet(vault).problem
    except NanolocalError as error:
        problem = error
    finally:
        vault.close()
    spent = "can be spent from" if problem is None else f"read-only: {problem.message}; {problem.hint} accepts it"
    return {"ledger": spent, "tuned": tuned}


def _missing(builds: tuple[Build, ...]) -> list[str]:
    kinds = {build.kind for build in builds}
    missing = [f"a build that makes {kind}" for kind in (Kind.TEXT, Kind.IMAGE) if kind not in kinds]
    return missing + [f"the package {name}" for name in _PACKAGES if _version(name) == "missing"]


def _advice(machine: "Machine", cards: "Sequence[Gpu]", can_offload: bool, free: int) -> Iterator[str]:
    """What would make this machine better at it."""
    if any(card.memory for card in cards) and not can_offload:
        yield "llama.cpp was built without the graphics card: CONTRIBUTING.md says how to build it with it (CMAKE_ARGS)"
    if free < _LITTLE_DISK:
        yield f"only {format_bytes(free)} are free for models: nanolocal models disk says what can go"
    if machine.battery is not None and machine.battery.is_plugged_in is False:
        yield "the machine runs on its battery and may be slower than it can be"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
