"""A thousand words through every feature of the real program: none is ever in a file in clear.

All words share one stem, so that looking for the stem finds any of them; the numbers prove that each was really used.
"""

import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from nanolocal.chat.messages import Attachment, Role
from nanolocal.paths import Paths, starter_models
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.scan import leaks
from tests.e2e.terminal import Terminal
from tests.fakes.homes import BUILD, an_answer, home

STEM = "canaryzephyrquartzibex"
PASSPHRASE = f"{STEM} as a passphrase"
ENTER, CTRL_N, CTRL_O, ESC = "\r", "\x0e", "\x0f", "\x1b"
CRASH = """
import sys
from nanolocal.cli.main import main
from nanolocal.tui.screens.chat import ChatScreen
async def broken(self, text, *args, **kwargs):
    private = text * 3
    raise LookupError(private)
ChatScreen.send = broken
sys.exit(main(sys.argv[1:]))
"""


class Place:
    """A user's whole disk for this test: home, cache, config, logs and temporary files; and its words."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used = 0
        self.newest = ""
        self.opened: list[Terminal] = []
        self._numbers = count()
        user = root / "user"
        self.env = {
            "HOME": str(user),
            "XDG_DATA_HOME": str(user / "share"),
            "XDG_CONFIG_HOME": str(user / "config"),
            "XDG_CACHE_HOME": str(user / "cache"),
            "XDG_STATE_HOME": str(user / "state"),
            "XDG_RUNTIME_DIR": str(user / "run"),
            "TMPDIR": str(root / "tmp"),
            "NANOLOCAL_PASSPHRASE": PASSPHRASE,
        }
        for name in ("share", "config", "cache", "state", "run"):
            (user / name).mkdir(mode=0o700, parents=True)
        (root / "tmp").mkdir()
        self.home = user / "nanolocal"

    def words(self, many: int) -> str:
        """So many words that were not used yet."""
        self.used += many
        words = [f"{STEM}{next(self._numbers):04d}" for _ in range(many)]
        self.newest = words[-1]
        return " ".join(words)

    def terminal(self, how: str, what: str) -> Terminal:
        """The program on a terminal."""
        self.opened.append(Terminal(self.home, columns=80, rows=24, program=(how, what), **self.env))
        return self.opened[-1]

    def run(self, *args: str, text: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "nanolocal", "--home", str(self.home), *args],
            input=text, capture_output=True, text=True, timeout=240, check=False, env=os.environ | self.env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    def look(self) -> None:
        """Nothing anywhere, in any form, not even as the numbers of a model's tokens."""
        assert leaks(self.root, [STEM]) == []
        needles = token_forms()
        for path in (path for path in self.root.rglob("*") if path.is_file()):
            data = path.read_bytes()
            assert not [needle for needle in needles if needle in data], path


def token_forms() -> list[bytes]:
    """The stem as the starter build's tokens, as a program would dump them: 32-bit integers, either way round."""
    from llama_cpp import Llama

    (model,) = (starter_models() / "nanolocal-starter-text").glob("*.gguf")
    tokens = Llama(str(model), vocab_only=True, verbose=False).tokenize(STEM.encode(), add_bos=False)[1:-1]
    assert len(tokens) >= 3
    return [struct.pack(f"{order}{len(tokens)}{kind}", *tokens) for order in "<>" for kind in "iq"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    disk = Place(tmp_path / "disk")
    yield disk
    for app in disk.opened:
        app.close()


def store_all(place: Place) -> None:
    """Every place in the vault and the ledger where a person's words can go, hundreds of times."""

    def word() -> str:
        return place.words(1)

    with home(Paths.choose(place.home).vault, PASSPHRASE) as here:
        for round_ in range(25):
            data = f"{place.words(3)} ".encode() * 200
            file = Attachment(f"{word()}.txt", "text/plain", data)
            picture = Attachment(f"{word()}.png", "image/png", zlib.compress(word().encode()) + data)
            chat_id, prompt_id, answer_id = here.turn(
                place.words(4), place.words(4), None, (file,), picture, title=word(), system=place.words(2)
            )
            here.store.rename_chat(chat_id, word())
            here.store.rate(answer_id, "good", place.words(2))
            here.store.keep_setting("instructions", place.words(2))
            here.store.keep_setting("draft", word())
            here.store.search(place.words(2), 5)
            here.wallet.top_up(1, note=place.words(2))
            hold = here.hold(5, chat_id)
            with here.store.transaction() as tx:
                here.wallet.settle(tx, hold, BUILD, an_answer("").usage, chat_id)
                here.store.add_answer(tx, chat_id, prompt_id, an_answer("x", problem=word()), hold)
            messages = (
                ImportedMessage("1", None, Role.USER, place.words(2), 1.0),
                ImportedMessage("2", "1", Role.ASSISTANT, place.words(2), 2.0, word()),
            )
            here.store.import_chat(ImportedChat(word(), word(), 1.0, 2.0, word(), messages))
            if round_ % 3 == 0:
                here.store.delete_chat(chat_id)
            if round_ == 12:
                place.look()
        here.vault.rotate()


def use_the_app(place: Place) -> None:
    """A new vault, prompts, a picture, a search, a draft; then kill -9 in mid-session."""
    app = place.terminal("-m", "nanolocal")
    app.wait_for("This machine")
    app.type(ENTER)
    app.wait_for("fox")
    app.type("\x15" * 3)
    app.wait_for(lambda shown: "fox" not in shown)
    app.type(place.words(3) + ENTER)
    app.wait_for(lambda shown: re.search(r"tokens · .* cr", shown) is not None)
    app.type(f"/image {place.words(2)}" + ENTER)
    app.wait_for("\u2580")
    place.look()
    app.type(CTRL_O)
    app.type(place.words(1))
    app.wait_for(lambda shown: place.newest in shown)
    place.look()
    app.type(ESC + ESC + place.words(1))
    app.wait_for(lambda shown: place.newest in shown)
    os.kill(app.pid, 9)
    app.wait_for_end()
    app.close()


def crash_the_app(place: Place) -> None:
    """It ends on a fault with private text in its variables; what it prints then names none."""
    app = place.terminal("-c", CRASH)
    app.wait_for(lambda shown: STEM in shown or "\u2580" in shown)  # a draft, where it was kept in time, or the picture
    app.type(CTRL_N + place.words(1))
    app.wait_for(lambda shown: place.newest in shown)
    app.type(ENTER)
    assert app.wait_for_end() == 1
    after = bytes(app.raw).rpartition(b"\x1b[?1049l")[2]
    assert b"ended on a fault" in after
    assert STEM.encode() not in after
    app.close()


def use_the_commands(place: Place, attached: Path) -> None:
    attached.write_text(place.words(20))
    for _ in range(4):
        wishes = ("--max-tokens", "8", "--system", place.words(2), "--attach", str(attached))
        place.run("ask", *wishes, text=place.words(20))
    place.run("image", place.words(4), "--out", str(attached.with_suffix(".png")))
    place.run("chats", "search", *place.words(20).split())
    place.run("credits", "topup", "0.001", "--note", place.words(18))
    place.run("credits", "history", "--json")
    place.run("vault", "backup", str(place.root / "backup"))
    place.run("ask", "--no-store", "--max-tokens", "4", text=place.words(10))


def use_the_line_mode(place: Place) -> None:
    """Its engine is killed, then the program itself, both in mid-session."""
    chat = subprocess.Popen(
        [sys.executable, "-m", "nanolocal", "--home", str(place.home), "chat", "--max-tokens", "4000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | place.env,
    )  # fmt: skip
    assert chat.stdin is not None
    assert chat.stdout is not None
    try:
        for _ in range(2):
            chat.stdin.write(f"{place.words(20)}\n".encode())
            chat.stdin.flush()
            while b"Assistant: " not in os.read(chat.stdout.fileno(), 4096):
                pass
            place.look()
            for engine in psutil.Process(chat.pid).children(recursive=True):
                engine.kill()
            place.look()
    finally:
        chat.kill()
        chat.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_words_through_every_feature_leave_no_trace(place: Place, tmp_path: Path) -> None:
    use_the_app(place)
    place.look()
    crash_the_app(place)
    place.look()
    use_the_commands(place, tmp_path / f"{place.words(1)}.txt")
    place.look()
    use_the_line_mode(place)
    place.look()
    store_all(place)
    place.look()
    assert place.used >= 1000
    with home(Paths.choose(place.home).vault, PASSPHRASE) as here:
        rows = here.vault.database.execute("SELECT text FROM message UNION ALL SELECT body FROM entry")
        assert len(set(re.findall(rf"{STEM}\d{{4}}", " ".join(row[0] for row in rows)))) >= 400
        assert here.vault.verify() == []
    place.look()
