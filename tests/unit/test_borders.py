"""The borders of DESIGN.md: who may import whom, and which heavy package has which home."""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "nanolocal"

COMMON = {"checks", "errors", "safetext", "paths", "settings", "logs", "hardening"}
"""Modules of the package itself that every room but chat may use."""

MAY_IMPORT: dict[str, set[str]] = {
    "chat": {"errors", "safetext"},
    "device": {"chat"} | COMMON,
    "formats": {"errors"},
    "library": {"chat", "formats"} | COMMON,
    "routing": {"chat", "library", "device"} | COMMON,
    "engines": {"chat", "formats"} | COMMON,
    "compress": {"chat", "formats", "engines", "library", "device"} | COMMON,
    "vault": {"chat"} | COMMON,
    "ledger": {"chat"} | COMMON,
    "helpers": {"chat"} | COMMON,
    # Doctor, route, models, credits and vault each show one room and open it without a session.
    "tui": {"chat", "bootstrap", "running", "device"} | COMMON,
    "cli": {"chat", "bootstrap", "running", "tui", "device", "library", "routing", "vault", "ledger", "compress"}
    | COMMON,
}
"""Every room, with the rooms and modules it may know; bootstrap alone knows them all."""

ENTRANCES = {
    "chat": ("turn", "ports", "commands"),
    "device": ("machine",),
    "formats": ("preflight",),
    "library": ("library",),
    "routing": ("router",),
    "engines": ("pool", "host"),
    "compress": ("lab", "exports", "background"),
    "vault": ("vault", "conversations"),
    "ledger": ("wallet",),
    "helpers": ("toolbox",),
    "tui": ("app",),
    "cli": ("main",),
}
"""Modules that other rooms and bootstrap rely on."""

HOMES = {
    "textual": ("tui/",),
    "llama_cpp": ("engines/ggml.py", "engines/llama.py", "engines/senses.py", "engines/bare.py", "compress/native/"),
    "torch": ("engines/diffusion/", "compress/torch/", "compress/export/", "compress/pictures.py"),
    "diffusers": ("engines/diffusion/", "compress/pictures.py"),
    "scipy": ("compress/search/program.py",),
    "distributed": ("compress/work/cluster.py",),
    "transformers": ("engines/diffusion/",),
    "httpx": ("library/pull/", "engines/remote.py"),
    "cryptography": ("vault/", "ledger/", "engines/states.py"),
    "sqlcipher3": ("vault/",),
    "segno": ("cli/qr.py",),
}
"""The only places, below nanolocal/, that may import a heavy package."""

INSIDE_FUNCTIONS = {"torch", "diffusers", "transformers", "llama_cpp", "httpx", "segno", "scipy", "distributed"}
ENGINE_PACKAGES = {"torch", "diffusers", "transformers", "llama_cpp"}
HEAVY = set(HOMES)

NEVER_LOADED_BY = {
    "chat": HEAVY,
    "device": HEAVY,
    "formats": HEAVY,
    "library": HEAVY,
    "routing": HEAVY,
    "engines": HEAVY,
    "compress": HEAVY,
    "vault": HEAVY - {"cryptography", "sqlcipher3"},
    "ledger": HEAVY - {"cryptography"},
    "helpers": HEAVY,
    "tui": ENGINE_PACKAGES | {"httpx", "cryptography", "sqlcipher3", "numpy"},
    "cli": HEAVY | {"numpy"},
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: its dotted name, the line, and when it happens."""

    name: str
    line: int
    at_import: bool

    @property
    def package(self) -> str:
        """The outermost package: torch for torch.nn."""
        return self.name.partition(".")[0]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The path below nanolocal/, as HOMES spells it."""
    return path.relative_to(PACKAGE).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_below(node: ast.AST, at_import: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            yield Import(child.module or "", child.lineno, at_import)
            yield from (Import(f"{child.module}.{alias.name}", child.lineno, at_import) for alias in child.names)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports_below(child, at_import and not deferred and not is_type_checking(child))


def imports_of(path: Path) -> list[Import]:
    return list(imports_below(ast.parse(path.read_text(encoding="utf-8"))))


def loaded_by(*modules: str) -> set[str]:
    """The modules that a fresh interpreter holds after importing these, less those it starts with."""
    program = (
        "import sys, json, importlib\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout)
    return set(loaded)


def modules_of(room: str) -> list[str]:
    """Every module of a room, less what runs when imported, and its entrances whether they are there or not."""
    programs = {"__main__", "decrypt_vault"}
    there = [
        module_name(path) for path in sources() if place(path).startswith(f"{room}/") and path.stem not in programs
    ]
    return sorted({*there, *(f"nanolocal.{room}.{name}" for name in ENTRANCES[room])})


def test_every_room_has_its_rules() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(MAY_IMPORT) == set(ENTRANCES) == set(NEVER_LOADED_BY)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_importing_a_room_loads_no_foreign_heavy_package(room: str) -> None:
    loaded = {name.partition(".")[0] for name in loaded_by(*modules_of(room))}
    assert not loaded & NEVER_LOADED_BY[room]


def test_chat_loads_the_standard_library_alone() -> None:
    loaded = loaded_by(*modules_of("chat"))
    own = {name for name in loaded if name.partition(".")[0] == "nanolocal"}
    assert {name.split(".")[1] for name in own if "." in name} <= {"chat", "errors", "safetext"}
    assert {name.partition(".")[0] for name in loaded - own} <= sys.stdlib_module_names


def test_wiring_loads_no_engine_and_no_face() -> None:
    loaded = loaded_by("nanolocal.bootstrap")
    assert not {name.partition(".")[0] for name in loaded} & (ENGINE_PACKAGES | {"textual", "httpx"})
    assert not {name for name in loaded if name.startswith(("nanolocal.cli", "nanolocal.tui"))}


OFFLINE = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"opened a connection: {event} {args}")
sys.addaudithook(refuse)
from nanolocal.cli.main import main
code = main(sys.argv[1:])
assert "httpx" not in sys.modules, "httpx was imported"
sys.exit(code)
"""


@pytest.mark.parametrize("command", [
    ("models", "list"), ("models", "list", "--json"), ("models", "scan", "--dry-run", "{empty}"),
    ("models", "catalogue", "qwen3"), ("models", "show", "qwen3-4b"), ("models", "token", "--show"),
    ("models", "bundle", "export", "nanolocal-starter-text", "{empty}/x.bundle"), ("route", "Hello"), ("doctor",),
])  # fmt: skip
def test_nothing_but_a_pull_opens_a_connection(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = [word.format(empty=tmp_path / "empty") for word in command]
    program = [sys.executable, "-c", OFFLINE, "--home", str(tmp_path / "home"), *given]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def test_heavy_packages_stay_at_home() -> None:
    strayed = [
        f"{place(path)}:{found.line}: {found.name}"
        for path in sources()
        for found in imports_of(path)
        if found.package in HOMES and not place(path).startswith(HOMES[found.package])
    ]
    assert strayed == []


def test_heavy_packages_are_imported_inside_functions() -> None:
    eager = [
        f"{place(path)}:{found.line}: {found.name}"
        for path in sources()
        for found in imports_of(path)
        if found.package in INSIDE_FUNCTIONS and found.at_import
    ]
    assert eager == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_knows_only_its_neighbours(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room, "__version__"}
    crossings = [
        f"{place(path)}:{found.line}: {found.name}"
        for path in sources()
        if place(path).startswith(f"{room}/")
        for found in imports_of(path)
        if found.name.startswith("nanolocal.") and found.name.split(".")[1] not in allowed
    ]
    assert crossings == []


def test_only_the_command_line_prints() -> None:
    printing = [
        f"{place(path)}:{node.lineno}"
        for path in sources()
        if not place(path).startswith("cli/")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_modules_import_each_other_without_cycles() -> None:
    names = {module_name(path) for path in sources()}
    graph = {
        module_name(path): {found.name for found in imports_of(path) if found.at_import and found.name in names}
        for path in sources()
    }
    packages = {module_name(path) for path in sources() if path.stem == "__init__"}
    for name, needed in graph.items():
        graph[name] = needed - packages - {name}
    graphlib.TopologicalSorter(graph).prepare()
