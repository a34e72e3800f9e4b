"""The user's own conversations as text to calibrate on, and what this device is used for as weights of the suite."""

from pathlib import Path

import pytest

from nanolocal import bootstrap
from nanolocal.chat.messages import Message, Role
from nanolocal.chat.routes import Tally
from nanolocal.errors import UsageError
from nanolocal.paths import Paths
from tests.fakes.tiny_gguf import write_tiny_gguf


def session_with(home: Path, chats: int) -> bootstrap.Session:
    folder = home / "data/models/tiny"
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / "tiny-F32.gguf", n_ctx=64)
    session = bootstrap.open_session(Paths.choose(home), None)
    for n in range(chats):
        with session.store.transaction() as tx:
            chat = session.store.start_chat(tx, f"chat {n}", None)
            session.store.add_prompt(tx, chat, None, Message(Role.USER, f"Tell me of lantern {n}."))
    return session


def test_conversations_are_read_through_the_template_and_are_private(tmp_path: Path) -> None:
    session = session_with(tmp_path, 7)
    try:
        text = bootstrap.lab_chats(session, session.library.get("tiny:F32"))
    finally:
        session.vault.close()
    assert not text.is_public
    assert text.name == "7 own conversations"
    assert "<|im_start|>user\nTell me of lantern" in text.calibration_text()


def test_too_few_conversations_are_refused(tmp_path: Path) -> None:
    session = session_with(tmp_path, 1)
    try:
        with pytest.raises(UsageError, match="too little text"):
            bootstrap.lab_chats(session, session.library.get("tiny:F32"))
    finally:
        session.vault.close()


def test_tasks_count_by_how_often_they_were_seen() -> None:
    assert bootstrap.lab_weights({}) == {}
    tallies = {
        ("a", "code"): Tally(2, 3),
        ("b", "code"): Tally(1, 3),
        ("a", "math"): Tally(1, 2),
        ("a", "*"): Tally(5, 9),
    }
    weights = bootstrap.lab_weights(tallies)
    assert weights == {"code": pytest.approx(1.5), "math": pytest.approx(0.5)}


def test_the_suite_asks_of_every_exam() -> None:
    questions = bootstrap.lab_questions(2)
    assert len({question.task for question in questions}) >= 10
    assert all(len(question.options) >= 2 for question in questions)
