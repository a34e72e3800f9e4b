"""Nothing private is ever on disk in clear: not at rest, not in a live write-ahead log, not after kill -9."""

import os
import zlib
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.vault.scan import leaks, written
from tests.fakes.homes import BUILD, an_answer, fork, home

WORDS = [f"canary{number:02d}zephyrquartz" for number in range(44)]


@pytest.mark.parametrize("form", [*written("x"), "file name"])
@pytest.mark.parametrize("offset", range(3))
def test_the_scanner_sees_a_leak(tmp_path: Path, form: str, offset: int) -> None:
    text = "abc"[:offset] + WORDS[7] + " and more"
    data = written(text).get(form, b"")
    (tmp_path / (WORDS[7] if form == "file name" else "file")).write_bytes(os.urandom(5000) + data + os.urandom(100))
    assert leaks(tmp_path, WORDS)


def live(directory: Path, passphrase: str | None) -> None:
    """A session that puts every canary somewhere: each place a person's words can go."""
    word = iter(WORDS)
    with home(directory, passphrase) as here:
        for _ in range(4):
            text = f"{next(word)} {next(word)} ".encode()
            file = Attachment(next(word) + ".txt", "text/plain", text * 400)
            picture = Attachment(next(word) + ".png", "image/png", zlib.compress(next(word).encode()) + text)
            chat_id, prompt_id, answer_id = here.turn(
                f"prompt {next(word)}", next(word), None, (file,), picture, title=next(word), system=next(word)
            )
        here.answer(chat_id, prompt_id, f"again {next(word)}")
        here.turn(f"more {next(word)}", next(word), chat_id, parent_id=answer_id)
        here.store.rename_chat(chat_id, next(word))
        assert here.store.search(next(word), 5) == []
        hold = here.hold(5, chat_id)
        with here.store.transaction() as tx:
            here.wallet.settle(tx, hold, BUILD, an_answer("").usage, chat_id)
            here.store.add_answer(tx, chat_id, prompt_id, an_answer("x", problem=next(word)), hold)
        assert here.store.search(WORDS[5], 5)
        gone, _, _ = here.turn(next(word), "deleted")
        here.store.delete_chat(gone)  # folds the log back; what follows stays in it
        here.turn(" ".join(WORDS), WORDS[1] * 1000, chat_id, title="x")
        used = len(WORDS) - len(list(word))
        os.write(int(os.environ["REPORT"]), b"%d\n" % used)
        with here.store.transaction() as tx:
            here.store.add_prompt(tx, chat_id, None, Message(Role.USER, WORDS[0] * 200_000))  # spills the page cache
            os.write(int(os.environ["REPORT"]), b"open\n")
            while True:
                pass


@pytest.mark.parametrize("passphrase", ["a pass phrase", None])
def test_no_word_is_on_disk_during_a_session_nor_after_it_was_killed(tmp_path: Path, passphrase: str | None) -> None:
    def work(report: object) -> None:
        (tmp_path / "tmp").mkdir()
        os.environ.update(TMPDIR=str(tmp_path / "tmp"), REPORT=str(writing))
        live(tmp_path / "home", passphrase)

    reading, writing = os.pipe()
    child = fork(work)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert int(pipe.readline()) >= 40
        assert pipe.readline() == "open\n"
    assert (tmp_path / "home" / "vault.db-wal").stat().st_size > 100_000
    words = [*WORDS, "pass phrase", "tiny:Q8_0", "conversation", "CREATE TABLE"]
    assert leaks(tmp_path, words) == []
    child.kill()
    assert leaks(tmp_path, words) == []
    with home(tmp_path / "home", passphrase) as here:
        assert len(here.store.chats(99)) == 4
        assert here.vault.database.problems() == ()
    assert leaks(tmp_path, words) == []


def test_the_files_look_random(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        here.turn("a" * 50_000, "b" * 50_000, attachments=(Attachment("x", "text/plain", b"c" * 50_000),))
    for path in [tmp_path / "home" / "vault.db", *(tmp_path / "home" / "blobs").iterdir()]:
        data = path.read_bytes()
        assert len(zlib.compress(data, 9)) >= 0.999 * len(data)
