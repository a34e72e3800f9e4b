"""What ``doctor`` found, on a page of 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import output

Table: TypeAlias = Mapping[str, Any]
"""A part of the report, as its JSON has it."""

_MOST_SHOWN = 8


def show(report: Table) -> None:
    """Print the report in groups; what is fine takes one line."""
    output.line(f"nanolocal {report['nanolocal']}, Python {report['python']}, {report['machine']['system']}")
    for title, facts in (
        ("Machine", _machine(report)),
        ("Models", _models(report)),
        ("Private", _private(report)),
        ("Program", _program(report)),
        ("Missing", _missing(report)),
    ):
        output.line()
        output.line(title)
        for name, text in facts:
            output.fact(name, text)


def _machine(report: Table) -> Iterator[tuple[str, str]]:
    machine, llama = report["machine"], report["llama_cpp"]
    yield "processor", f"{machine['processor']}, {_cores(machine)}"
    limited = " as its container allows" if machine["memory_limit_bytes"] else ""
    speed = f"read at {format_bytes(report['memory_bandwidth'])}/s"
    yield "memory", f"{machine['memory']}{limited}, {machine['memory_free']} free, {speed}"
    yield "swap", format_bytes(machine["swap_bytes"]) if machine["swap_bytes"] else "none"
    yield "graphics", "; ".join(_card(card) for card in machine["graphics"]) or "no card"
    yield "power", _power(machine["battery"])
    yield "disk", f"{format_bytes(report['disk_free_bytes'])} free for models"
    if llama is None:
        yield "llama.cpp", "cannot be loaded"
        return
    where = "the graphics card" if llama["gpu_offload"] else "the processor alone"
    yield "llama.cpp", f"uses {where}, with {llama['instructions'] or 'no special instructions'}"


def _cores(machine: Table) -> str:
    usable, logical, physical = machine["cores"], machine["cores_logical"], machine["cores_physical"]
    some = f"{usable} of {logical}" if logical and usable != logical else f"{usable}"
    kind = f"threads on {physical} cores" if physical and logical > physical else "cores" if usable != 1 else "core"
    limit = f", limited to the time of {machine['cores_limit']:g}" if machine["cores_limit"] else ""
    return f"{some} {kind}{limit}"


def _card(card: Table) -> str:
    if card["memory"] is None:
        return str(card["name"])
    free = "" if card["memory_free"] is None else f", {format_bytes(card['memory_free'])} free"
    return f"{card['name']} ({format_bytes(card['memory'])}{free})"


def _power(battery: Table | None) -> str:
    if battery is None:
        return "no battery"
    plugged = {True: "plugged in", False: "not plugged in", None: "whether it is plugged in is not known"}
    return f"battery at {battery['percent']}%, {plugged[battery['is_plugged_in']]}"


def _models(report: Table) -> Iterator[tuple[str, str]]:
    yield "memory", f"engines may hold {format_bytes(report['memory_budget'])}"
    builds: Table = report["builds"]
    large = [f"{name} {says}" for name, says in builds.items() if not says.startswith("fits")]
    yield "builds", f"{len(builds)}, of which {len(builds) - len(large)} fit" if builds else "none"
    if len(builds) <= _MOST_SHOWN:
        yield from (("", f"{name} {says}") for name, says in builds.items())
    else:
        yield from _some("", large)
    yield from _some("tuned", [f"{name}: {how}" for name, how in report["tuned"].items()])
    yield from _some("set aside", [f"{name}: {why}" for name, why in report["set_aside"].items()])
    yield from _some("refused", [f"{path}: {why}" for path, why in report["refused"].items()])
    yield from _some("note", report["notes"])


def _some(name: str, items: list[str]) -> Iterator[tuple[str, str]]:
    for number, item in enumerate(items[:_MOST_SHOWN]):
        yield name if not number else "", item
    if len(items) > _MOST_SHOWN:
        yield "", f"and {len(items) - _MOST_SHOWN} more: nanolocal models list"


def _private(report: Table) -> Iterator[tuple[str, str]]:
    opened = {"absent": "none yet", "passphrase": "opened by a passphrase", "keyfile": "opened by a key file"}
    yield "vault", opened.get(str(report["vault"]), f"opened by the {report['vault']}")
    yield "ledger", report["ledger"]
    yield "engines", _isolation(report["isolation"])
    yield from ((name.replace("_", " "), says) for name, says in report["memory_privacy"].items())


def _isolation(isolation: Table) -> str:
    """What a model file that takes its engine over could reach, and what keeps it."""
    spared = {}
    if isolation["landlock"]:
        spared[f"Landlock {isolation['landlock']}"] = "none of your files"
    if isolation["has_filter"]:
        spared["seccomp"] = "no network, no program"
    problems = "; ".join(isolation["problems"])
    if not spared:
        return f"a bad model file could do what you can: {problems}"
    reached = f"a bad model file reaches {', '.join(spared.values())} ({', '.join(spared)})"
    return f"{reached}; {problems}" if problems else reached


def _program(report: Table) -> Iterator[tuple[str, str]]:
    yield from report["directories"].items()
    yield "packages", ", ".join(f"{name} {version}" for name, version in report["packages"].items())


def _missing(report: Table) -> Iterator[tuple[str, str]]:
    advised = {f"a build that makes {kind}": "nanolocal models scan, or models catalogue" for kind in ("text", "image")}
    for item in report["missing"]:
        yield "missing", f"{item}: {advised.get(item, 'scripts/run installs it')}"
    for item in report["advice"]:
        yield "advice", item
    if not report["missing"] and not report["advice"]:
        yield "nothing", "all that nanolocal needs is here"
