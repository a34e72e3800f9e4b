"""No text makes a terminal do anything: every place where it reaches the terminal app's screen, on a real terminal."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.faults import hostile
from tests.faults.hostile import acted_on

ROOT = Path(__file__).parents[2]
APP = ("-m", "tests.faults.hostile_app")
ENTER, ESC, TAB, CTRL_E, CTRL_L, CTRL_N, CTRL_O, CTRL_P, CTRL_Q, CTRL_R, CTRL_T, F1 = (
    "\r", "\x1b", "\t", "\x05", "\x0c", "\x0e", "\x0f", "\x10", "\x11", "\x12", "\x14", "\x1bOP"
)  # fmt: skip
SELECT_ALL, DELETE = "\x1b[18~", "\x1b[3~"
EMPTY_BOX = "Ask anything"
LOOKS = [("dark", {}), ("light", {}), ("dark", {"NO_COLOR": "1"})]

Open = Callable[..., Terminal]


@pytest.fixture
def open_app(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(scene: str, theme: str = "dark", columns: int = 100, rows: int = 40, **env: str) -> Terminal:
        env = {"PYTHONPATH": str(ROOT), **env}
        opened.append(Terminal(tmp_path, scene, theme, columns=columns, rows=rows, program=APP, **env))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def paste(text: str) -> str:
    """What a terminal sends for a paste; terminals themselves take C0 out of it, because it would be keys."""
    kept = "".join(char for char in text if char >= " " and char != "\x7f")
    return f"\x1b[200~{kept}\x1b[201~".encode("utf-8", "replace").decode()


def finish(app: Terminal, code: int = 0) -> None:
    """Leave the app; nothing it ever wrote was a command, and the payloads were really drawn."""
    app.type(CTRL_Q)
    assert app.wait_for_end() == code
    assert acted_on(bytes(app.raw)) == []
    assert hostile.MARK.encode() in app.raw


def clear(app: Terminal) -> None:
    """Empty the prompt box."""
    app.type(SELECT_ALL + DELETE)
    app.wait_for(EMPTY_BOX)


def say(app: Terminal, line: str, seen: str) -> None:
    """Enter a line in the empty box and wait for what it shows."""
    app.type(line)
    app.wait_for(line)
    app.type(ENTER)
    app.wait_for(seen)


def begin(app: Terminal, key: str) -> None:
    """Have something answered; the line that says so may have gone by the time the screen is looked at."""
    before = len(app.raw)
    app.type(key)
    app.wait_for(lambda _: b"writing" in app.raw[before:])


def leave_page(app: Terminal, title: str) -> None:
    app.type(ESC)
    app.wait_for(lambda shown: title not in shown and EMPTY_BOX in shown)


@pytest.mark.parametrize("name", sorted(hostile.PAYLOADS.keys() - hostile.ENCODED))
def test_the_reader_sees_every_payload_that_is_written_raw(name: str, tmp_path: Path) -> None:
    write = "import sys; sys.stdout.buffer.write(sys.argv[3].encode())"
    terminal = Terminal(tmp_path, hostile.PAYLOADS[name].replace("\0", ""), program=("-c", write))
    assert terminal.wait_for_end() == 0
    terminal.close()
    assert acted_on(bytes(terminal.raw))


def test_the_reader_sees_what_other_textual_apps_let_through(open_app: Open) -> None:
    app = open_app("leaky")
    wanted = (r"\x1b]52;c;", r"\x9b31337m", r"\x1b[31337m", r"\u202e", r"\u200b", r"\x0e")
    app.wait_for(lambda _: all(hit in " ".join(acted_on(bytes(app.raw))) for hit in wanted))


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "env"), LOOKS)
def test_a_conversation_and_an_answer_one_character_at_a_time(open_app: Open, theme: str, env: dict[str, str]) -> None:
    app = open_app("chat", theme, **env)
    app.wait_for(lambda shown: hostile.LAST in shown and EMPTY_BOX not in shown)
    clear(app)
    say(app, "/new", "kept encrypted")
    app.type(paste(hostile.ALL))
    app.wait_for(hostile.MARK)
    begin(app, ENTER)
    app.wait_for(lambda shown: "writing" not in shown and EMPTY_BOX in shown)
    app.type("\x1b[5~" * 3)
    say(app, "/theme", EMPTY_BOX)
    begin(app, CTRL_R)
    app.type(ESC)
    app.wait_for(lambda shown: "writing" not in shown)
    finish(app)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(100, 40), (44, 18)])
def test_every_page_list_and_line(open_app: Open, tmp_path: Path, columns: int, rows: int) -> None:
    (tmp_path / f"x{hostile.FILE}").write_text(hostile.MARKDOWN.replace("\0", ""), errors="replace")
    app = open_app("chat", columns=columns, rows=rows, HOME=str(tmp_path))
    app.wait_for(lambda shown: hostile.LAST in shown and EMPTY_BOX not in shown)
    clear(app)
    app.type(CTRL_E)
    app.wait_for(lambda shown: EMPTY_BOX not in shown)
    leave_page(app, "Change the prompt")
    for line, title in (("/why", "Why this"), ("/credits", "Balance"), ("/help", "Keys"), ("/model", "Who answers")):
        say(app, line, title)
        leave_page(app, title)
    app.type(CTRL_O)
    app.wait_for("Conversations")
    app.type(paste(hostile.FILE))
    app.wait_for("Nothing found")
    app.type("\x15" * 9)
    app.wait_for(lambda shown: "Nothing found" not in shown)
    app.type("zqx")
    app.type("\x1b[3~")
    app.wait_for("Erase this")
    app.type("n")
    app.wait_for(lambda shown: "Erase this" not in shown)
    leave_page(app, "Conversations")
    app.type(CTRL_P)
    app.wait_for("Search for commands")
    app.type(paste(hostile.LINE))
    app.wait_for("No matches")
    leave_page(app, "No matches")
    for start, refusal in (("/once ", "no build"), ("/attach ", "such file"), ("/save /nowhere/", "Cannot write")):
        app.type(start)
        app.wait_for(start.strip())
        app.type(paste(hostile.FILE))
        app.wait_for("zqxb")
        app.type(ENTER)
        app.wait_for(refusal)
        clear(app)
    app.type("@~/x")
    app.wait_for("~/x\u241b]52;c;zqxa")
    app.type(TAB)
    app.wait_for("~/x]52;c;zqxa")
    begin(app, ENTER)
    app.type(ESC)
    app.wait_for(lambda shown: "writing" not in shown and EMPTY_BOX in shown)
    finish(app)


def test_the_door(open_app: Open) -> None:
    app = open_app("gate")
    app.wait_for("passphrase")
    app.type(paste(hostile.LINE) + ENTER)
    app.wait_for("Locked")
    app.type("right" + ENTER)
    app.wait_for(EMPTY_BOX)
    finish(app)


def test_the_first_run(open_app: Open) -> None:
    app = open_app("welcome")
    app.wait_for("Welcome")
    app.type(paste(hostile.FILE) + ESC)
    app.wait_for("Locked")
    app.type(ESC)
    app.wait_for("This machine")
    app.type(ENTER)
    app.wait_for("fox")
    finish(app)


def test_a_vault_that_cannot_be_looked_at(open_app: Open) -> None:
    app = open_app("broken")
    app.wait_for("Locked")
    finish(app)


def test_an_engine_that_fails(open_app: Open) -> None:
    app = open_app("failing")
    app.wait_for(lambda shown: hostile.LAST in shown and EMPTY_BOX not in shown)
    clear(app)
    say(app, "again", "Ctrl+R tries again")
    finish(app)


def test_a_fault_prints_nothing_of_the_text_that_was_there(open_app: Open) -> None:
    app = open_app("fault")
    app.wait_for(lambda shown: hostile.LAST in shown and EMPTY_BOX not in shown)
    app.type(ENTER)
    assert app.wait_for_end() == 0
    assert acted_on(bytes(app.raw)) == []
    assert bytes(app.raw).endswith(b"LookupError in hostile_app.py, line 18")


def test_no_widget_reads_markup_in_a_text() -> None:
    careful = dict.fromkeys(("Static", "Label", "OptionList", "notify"), "markup=False")
    careful["Markdown"] = "open_links=False"
    calls = [
        (f"{path.name}: {ast.unparse(node)}", careful.get(ast.unparse(node.func).rpartition(".")[2]))
        for path in sorted((ROOT / "nanolocal" / "tui").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert len([call for call, wanted in calls if wanted]) > 20
    assert [call for call, wanted in calls if wanted and wanted not in call] == []
