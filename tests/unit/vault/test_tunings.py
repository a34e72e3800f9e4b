"""How builds run fastest here, kept in the vault."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import Hold
from nanolocal.chat.tuning import Tuned, Tuning
from nanolocal.ledger.schema import MIGRATIONS as LEDGER
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.experience import Experience
from nanolocal.vault.schema import MIGRATIONS as VAULT
from nanolocal.vault.tunings import Tunings
from nanolocal.vault.vault import Vault
from tests.unit.vault.test_experience import ANSWER

SHA, OTHER = "a" * 64, "b" * 64
FOUND = Tuning(threads=2, flash="off", more_bytes=5)
DAY = 86_400.0


class World:
    def __init__(self, folder: Path) -> None:
        self.now = 1e9
        self.vault = Vault.create(folder, None, (*VAULT, *LEDGER))
        self.store = Conversations(self.vault.database, self.vault.blobs, lambda: self.now)
        self.here = self.at("a laptop", "0.3.36")
        self.number = 0

    def answer(self, task: str, gain: float) -> None:
        """Store an answer that was written so many times as fast with guesses."""
        answer = replace(ANSWER, route=replace(ANSWER.route, task=task), guess_gain=gain)
        self.number += 1
        with self.store.transaction() as tx:
            chat = self.store.start_chat(tx, "t", None)
            asked = self.store.add_prompt(tx, chat, None, Message(Role.USER, "hi"))
            self.store.add_answer(tx, chat, asked, answer, Hold(f"h{self.number}", 1))

    def at(self, device: str, library: str) -> Tunings:
        return Tunings(self.vault.database, device, library, lambda: self.now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "vault")


def test_what_was_found_holds_for_this_build_device_and_library(world: World) -> None:
    world.here.keep(SHA, Tuning(), 1.0)
    world.now += 1
    world.here.keep(SHA, FOUND, 1.2)
    assert world.here.of(SHA) == Tuned(FOUND, 1.2, 1e9 + 1)
    assert world.here.of(OTHER) is None
    assert world.at("another", "0.3.36").of(SHA) is None
    assert world.at("a laptop", "0.4.0").of(SHA) is None
    assert world.here.forget(SHA) and world.here.of(SHA) is None
    assert not world.here.forget(SHA)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("{", None),
        ("[]", None),
        ('{"threads": "2"}', None),
        ('{"flash": "maybe"}', None),
        ('{"threads": -1}', None),
        ('{"threads": 3, "magic": true}', Tuning(threads=3)),
    ],
)
def test_settings_that_make_no_sense_are_none(world: World, stored: str, read: Tuning | None) -> None:
    world.here.keep(SHA, FOUND, 1.2)
    with world.vault.database.transaction() as tx:
        tx.execute("UPDATE tuning SET settings_json = ?", (stored,))
    tuned = world.here.of(SHA)
    assert (None if tuned is None else tuned.tuning) == read


def test_guessing_goes_on_where_it_gains_and_is_tried_again_later(world: World) -> None:
    here = world.here
    assert here.may_guess(SHA, "code")
    for _ in range(3):
        assert here.may_guess(SHA, "code")
        world.answer("code", 1.05)
    world.answer("summarize", 2.0)
    world.answer("math", 0.0)
    assert not here.may_guess(SHA, "code")
    assert here.may_guess(SHA, "summarize") and here.may_guess(OTHER, "code")
    assert here.gains(SHA) == {"code": pytest.approx(1.05), "summarize": 2.0}
    world.now += 15 * DAY
    assert here.may_guess(SHA, "code")
    for _ in range(12):
        world.answer("code", 1.5)
    assert here.may_guess(SHA, "code")


def test_all_is_forgotten_with_the_rest(world: World) -> None:
    world.here.keep(SHA, FOUND, 1.2)
    world.answer("code", 1.5)
    Experience(world.vault.database).forget()
    assert world.here.of(SHA) is None and world.here.gains(SHA) == {}
