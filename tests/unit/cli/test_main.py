"""One command is imported for one command; the help and an unknown command see all of them."""

import json
import subprocess
import sys

import pytest

from nanolocal.cli.main import main

COMMANDS = ("ask", "image", "chat", "route", "compare", "models", "chats", "credits", "receipt", "vault", "doctor")


def modules_after(*arguments: str) -> set[str]:
    program = (
        "import json, sys\n"
        "from nanolocal.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('nanolocal.cli.')]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "before", [(), ("--json",), ("--home", "chat"), ("--quiet", "--home", "ask", "--passphrase-file", "vault")]
)
def test_a_command_imports_no_other(before: tuple[str, ...]) -> None:
    modules = modules_after(*before, "models", "--help")
    assert "nanolocal.cli.models" in modules
    assert not modules & {"nanolocal.cli.ask", "nanolocal.cli.chat", "nanolocal.cli.vault"}


@pytest.mark.parametrize("arguments", [("--help",), ("--help", "models"), ("--json", "--help")])
def test_the_help_lists_every_command(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(list(arguments))
    listed = capsys.readouterr().out
    assert all(f"    {command} " in listed for command in COMMANDS)


@pytest.mark.parametrize("arguments", [("nonsense",), ("nonsense", "ask"), ("--hom", "x", "nonsense")])
def test_an_unknown_command_is_told_which_there_are(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(arguments)) == 2
    told = capsys.readouterr().err
    assert all(f"'{command}'" in told for command in COMMANDS)


@pytest.mark.parametrize("option", ["--hom", "--home"])
def test_an_abbreviated_option_before_a_command_still_works(
    option: str, tmp_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, f"{tmp_path}/home", "models", "list"]) == 0
    assert "nanolocal-starter-text" in capsys.readouterr().out
