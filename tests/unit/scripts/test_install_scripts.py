"""The start scripts on a machine that is ready, and on machines that lack something.

A lacking machine is a PATH of links to the real tools, with the broken one left out or replaced.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = """awk bash cat cc c++ chmod date df dirname env getconf grep id ls mkdir readlink rm sed sha256sum sleep tail
uname wc"""

OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}


class Machine:
    """A copy of the scripts in a folder with a space in its name, and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a tree"
        self.path = folder / "bin"
        self.path.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("*.py", "starter*"))
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        for tool in TOOLS.split():
            self.has(tool)
        self.replace("python3", f'exec "{Path(sys.executable).resolve()}" "$@"')

    def has(self, tool: str) -> None:
        found = shutil.which(tool)
        assert found, f"{tool} is needed for this test"
        (self.path / tool).symlink_to(found)

    def lacks(self, tool: str) -> None:
        (self.path / tool).unlink()

    def replace(self, tool: str, script: str) -> None:
        """Put a small shell script in the place of a tool."""
        (self.path / tool).unlink(missing_ok=True)
        (self.path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (self.path / tool).chmod(0o755)

    def python_is(self, version: str) -> None:
        """A python3 that answers every question with its version and path."""
        self.replace("python3", f"echo {version} /usr/bin/python{version}")

    def install_by_hand(self) -> None:
        """A .venv whose python and nanolocal say what they were given, with the stamp of a finished installation."""
        binaries = self.root / ".venv/bin"
        binaries.mkdir(parents=True)
        (binaries / "python").write_text('#!/bin/sh\nprintf "<%s>" "$@"\ncat\n')
        (binaries / "python").chmod(0o755)
        (self.root / ".venv/pyvenv.cfg").write_text("version = 3.11.7\n")
        sources = ("pyproject.toml", "scripts/constraints.txt", ".venv/pyvenv.cfg")
        content = b"".join((self.root / name).read_bytes() for name in sources) + os.fsencode(self.root)
        for group in ("run", "test", "dev"):
            stamp = f"{hashlib.sha256(content).hexdigest()}  -\n"
            (self.root / f".venv/.stamp-{group}").write_text(stamp)

    def start(self, *command: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or (str(self.root / "scripts/run"), "--help"),
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PATH": str(self.path), "HOME": str(self.root), **OFFLINE, **environment},
        )

    def refusal(self, **environment: str) -> tuple[str, str]:
        """The one sentence and the remedy of a start that must be refused."""
        done = self.start(**environment)
        assert (done.returncode, done.stdout) == (2, "")
        steps, _, refused = done.stderr.partition("nanolocal: error: ")
        sentence, hint, details, *rest = refused.splitlines()
        assert "error" not in steps and "Traceback" not in done.stderr and rest == []
        assert details == f"details: {self.root / 'build/install.log'}"
        return sentence, hint.removeprefix("hint: ")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("tool", "remedy"),
    [("apt-get", "apt-get install build-essential"), ("dnf", "dnf install gcc-c++"), ("brew", "brew install gcc")],
)
def test_no_compiler_names_the_package_of_this_system(machine: Machine, tool: str, remedy: str) -> None:
    machine.lacks("cc")
    machine.replace(tool, "exit 1")
    sentence, hint = machine.refusal()
    assert sentence.startswith("no C and C++ compiler was found")
    assert hint.endswith(remedy)


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.10"])
def test_an_old_python_is_refused(machine: Machine, version: str) -> None:
    machine.python_is(version)
    machine.replace("apt-get", "exit 1")
    sentence, hint = machine.refusal()
    assert sentence == f"the Python here is {version}; nanolocal needs Python 3.11 to 3.14"
    assert hint.endswith("apt-get install python3.11 python3.11-venv")


def test_a_python_without_a_sqlcipher_wheel_is_refused(machine: Machine) -> None:
    machine.python_is("3.15")
    sentence, _ = machine.refusal()
    assert sentence.startswith("the Python here is 3.15, for which sqlcipher3 has no wheel")


def test_no_python_is_said(machine: Machine) -> None:
    machine.lacks("python3")
    sentence, hint = machine.refusal()
    assert sentence.startswith("no Python was found")
    assert hint == "install python3 python3-venv with this system's package manager"


def test_a_python_without_venv_names_its_package(machine: Machine) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.executable).resolve()
    machine.replace(
        "python3",
        f"""case "$*" in
            *version_info*) echo {version} "$0" ;;
            *ensurepip*) exit 1 ;;
            *) exec "{python}" "$@" ;; esac""",
    )
    machine.replace("apt-get", "exit 1")
    sentence, hint = machine.refusal()
    assert sentence == f"Python {version} has no venv module, which the installation needs"
    assert hint.endswith(f"apt-get install python{version}-venv")


def test_a_full_disk_is_refused_before_anything_is_installed(machine: Machine) -> None:
    machine.replace("df", "echo 'Filesystem 1024-blocks Used Available'; echo '/dev/full 9 9 2097152'")
    sentence, hint = machine.refusal()
    assert sentence == f"2048 MB are free on the disk that holds {machine.root}; the installation needs 4 GB"
    assert hint == f"df -h '{machine.root}'"
    assert not (machine.root / ".venv").exists()


def test_an_unreachable_index_is_said(machine: Machine) -> None:
    sentence, hint = machine.refusal(PIP_USER="1", PIP_TARGET="/nowhere")
    assert sentence.startswith("PyTorch could not be downloaded: the package index is out of reach")
    assert "PIP_INDEX_URL" in hint


def test_a_second_installation_waits_for_the_first(machine: Machine) -> None:
    build = machine.root / "build"
    build.mkdir()
    with (build / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [str(machine.root / "scripts/run")],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": str(machine.path)},
        )
        assert second.stderr
        assert second.stderr.readline() == "waiting for another installation to end\n"
        assert second.poll() is None
        machine.install_by_hand()
    out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    assert out.startswith("<")


def test_an_interrupted_installation_is_completed(machine: Machine) -> None:
    """A package without INSTALLER is one whose files pip had not all written: it is put in again."""
    python = Path(sys.executable).resolve()
    subprocess.run([python, "-m", "venv", machine.root / ".venv"], check=True)
    packages = machine.root / ".venv/lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    half, whole = packages / "half-1.0.dist-info", packages / "whole-1.0.dist-info"
    for dist in (half, whole):
        dist.mkdir()
        (dist / "METADATA").write_text(f"Name: {dist.stem}\n")
    (whole / "INSTALLER").write_text("pip\n")
    machine.refusal()
    assert whole.exists()
    assert not half.exists()


@pytest.mark.parametrize("breaks_amx", [True, False])
def test_a_compiler_that_breaks_amx_is_told_to_leave_it_out(machine: Machine, breaks_amx: bool) -> None:
    machine.replace("c++", "echo broken" if breaks_amx else "exit 0")
    python = machine.root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"""#!/bin/sh
        case "$*" in
            *"pip cache dir"*) echo /cache ;;
            *"pip install"*) echo "compiles: $CMAKE_ARGS; keeps: $PIP_CACHE_DIR"; exit 1 ;;
            *) exec "{Path(sys.executable).resolve()}" "$@" ;; esac"""
    )
    python.chmod(0o755)
    torch = next(line for line in (ROOT / "scripts/constraints.txt").read_text().splitlines() if "torch==" in line)
    dist = machine.root / f".venv/lib/python3.11/site-packages/{torch.replace('==', '-')}.dist-info"
    dist.mkdir(parents=True)
    (dist / "INSTALLER").write_text("pip\n")
    machine.refusal(CMAKE_ARGS="-DGGML_CUDA=ON")
    said = (machine.root / "build/install.log").read_text()
    left_out = "'-DCMAKE_CXX_FLAGS=-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'"
    assert f"{left_out} -DGGML_CUDA=ON; keeps: /cache/no-amx" in said if breaks_amx else "amx" not in said


def test_an_installed_tree_starts_at_once_from_anywhere(machine: Machine, tmp_path: Path) -> None:
    machine.install_by_hand()
    link = tmp_path / "nanolocal link"
    link.symlink_to(machine.root / "scripts/run")
    done = machine.start(str(link), "ask", "two words", text="from the pipe", PYTHONPATH="/nowhere", PIP_TARGET="/no")
    command = machine.root / ".venv/bin/nanolocal"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"<{command}><ask><two words>from the pipe"
    assert not (machine.root / "build").exists()


def test_the_test_script_hands_its_arguments_to_pytest(machine: Machine) -> None:
    machine.install_by_hand()
    done = machine.start(str(machine.root / "scripts/test"), "-k", "a b")
    assert (done.stdout, done.stderr) == ("<-m><pytest><-q><-k><a b>", "")
    assert machine.start("bash", str(machine.root / ".ci/run")).stdout == "<-m><pytest><-q>"


def test_a_change_of_the_requirements_installs_again(machine: Machine) -> None:
    machine.install_by_hand()
    with (machine.root / "scripts/constraints.txt").open("a") as constraints:
        constraints.write("another==1.0\n")
    machine.python_is("3.9")
    sentence, _ = machine.refusal()
    assert "the Python here is 3.9" in sentence


def test_here_a_start_installs_nothing() -> None:
    """The real tree, installed by scripts/test: with pip's index out of reach and its log untouched."""
    log = ROOT / "build/install.log"
    before = log.stat().st_mtime_ns if log.exists() else None
    command = [str(ROOT / "scripts/run"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | OFFLINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: nanolocal")
    assert (log.stat().st_mtime_ns if log.exists() else None) == before
