"""What the vault can do, on the screen. Codes and passphrases go to a real vault."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from nanolocal.errors import VaultLocked
from nanolocal.tui.screens.recovery import RecoveryScreen
from nanolocal.vault.keys import Stretching
from nanolocal.vault.vault import Vault
from tests.fakes.homes import CHEAP, MIGRATIONS, PASSPHRASE, open_vault
from tests.fakes.session import FakeSession
from tests.tui.driving import Stand, drive

SMALL = (60, 16)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    opened = open_vault(tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def session(vault: Vault) -> FakeSession:
    session = FakeSession()
    session.vault = vault
    return session


def opens(vault: Vault, secret: str) -> bool:
    """Whether a second unlocking of the same vault takes ``secret``."""
    try:
        Vault.open(vault.directory, secret, MIGRATIONS).close()
    except VaultLocked:
        return False
    return True


async def make_code(stand: Stand) -> str:
    """Go through the question and read the code off the screen."""
    await stand.type("/recovery", "enter")
    await stand.sees("y makes a code")
    await stand.pilot.press("y")
    await stand.sees("Type two groups back")
    return "-".join(group.replace(" ", "") for group in re.findall(r"\b\w \w \w \w\b", stand.shown))


def asked_for(stand: Stand) -> list[int]:
    return [int(box.id.removeprefix("group-")) for box in stand.app.screen.query(Input) if box.id]


def test_a_recovery_code_is_shown_checked_and_gone(session: FakeSession, vault: Vault) -> None:
    codes: list[str] = []

    async def body(stand: Stand) -> None:
        code = await make_code(stand)
        codes.append(code)
        groups = code.split("-")
        assert len(groups) == 14
        first, second = asked_for(stand)
        await stand.pilot.press(*"WRNG", "enter")
        await stand.sees(f"Group {first} is another one")
        assert all(" ".join(group) in stand.shown for group in groups)
        stand.app.screen.query(Input).first().value = groups[first - 1].lower().replace("0", "o").replace("1", "l")
        await stand.pilot.press("enter")
        await stand.until(lambda: stand.app.focused is stand.app.screen.query(Input).last())
        await stand.pilot.press(*groups[second - 1], "enter")
        await stand.sees("Done: the code on your paper opens this vault.")
        assert not any(" ".join(group) in stand.shown for group in groups)
        await stand.pilot.press("escape")
        await stand.until(lambda: stand.app.screen is stand.chat)
        assert not any(group in stand.shown for group in groups)
        assert stand.app.clipboard == ""

    drive(body, session, SMALL)
    assert opens(vault, codes[0])


def test_a_code_that_was_left_unchecked_is_said_to_be_in_force(session: FakeSession, vault: Vault) -> None:
    codes: list[str] = []

    async def body(stand: Stand) -> None:
        codes.append(await make_code(stand))
        await stand.pilot.press("escape")
        await stand.sees("The new recovery code is in force, though you did not")
        assert not any(" ".join(group) in stand.shown for group in codes[0].split("-"))
        await stand.type("/recovery", "enter")
        await stand.sees("earlier one opens nothing any more")
        await stand.pilot.press("n")
        await stand.until(lambda: stand.app.screen is stand.chat)
        assert opens(vault, codes[0])
        codes.append(await make_code(stand))

    drive(body, session, SMALL)
    assert (opens(vault, codes[0]), opens(vault, codes[1])) == (False, True)


def test_without_a_yes_no_code_is_made(session: FakeSession, vault: Vault) -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/recovery", "enter")
        await stand.until(lambda: isinstance(stand.app.screen, RecoveryScreen))
        await stand.pilot.press("enter")
        await stand.until(lambda: stand.app.screen is stand.chat)

    drive(body, session)
    assert "recovery" not in vault.slots


async def leaves(stand: Stand, box: Input) -> None:
    await stand.until(lambda: stand.app.focused is not box)


async def fill(stand: Stand, *texts: str) -> None:
    """Type into one box after the other."""
    for text in texts:
        box = stand.app.focused
        assert isinstance(box, Input)
        await stand.pilot.press(*text, "enter")
        if text is not texts[-1]:
            await leaves(stand, box)


def test_the_passphrase_is_changed_only_by_who_knows_the_old_one(
    session: FakeSession, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def change(new: str | None, stretching: Stretching | None = None) -> None:
        threads.append(threading.current_thread())
        Vault.change_passphrase(vault, new, CHEAP)

    monkeypatch.setattr(vault, "change_passphrase", change)

    async def body(stand: Stand) -> None:
        await stand.type("/passphrase", "enter")
        await stand.sees("The vault is opened by a passphrase.")
        await fill(stand, "guess", "hello", "hello")
        await stand.sees("! Not the present passphrase; nothing was changed.")
        assert opens(vault, PASSPHRASE)
        await fill(stand, PASSPHRASE, "four green hats", "four green bats")
        await stand.sees("The two are not the same.")
        await fill(stand, "four green hats")
        await stand.sees("The new passphrase opens the vault from now on.")
        assert "four green hats" not in stand.shown

    drive(body, session, SMALL)
    assert (opens(vault, PASSPHRASE), opens(vault, "four green hats")) == (False, True)
    assert threading.main_thread() not in threads


def test_the_passphrase_is_removed_after_a_question(session: FakeSession, vault: Vault) -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/passphrase", "enter")
        await stand.sees("Leave both new ones")
        await fill(stand, PASSPHRASE, "", "")
        await stand.sees("Remove the passphrase?")
        await stand.pilot.press("y")
        await stand.sees("A key file opens the vault from now on.")
        await stand.type("/passphrase", "enter")
        await stand.sees("The vault is opened by a key file.")
        await fill(stand, "", "")
        await stand.sees("Type a new passphrase, or leave with Esc.")

    drive(body, session)
    assert vault.slots == ("keyfile",)


def test_how_good_a_passphrase_is_stands_in_words_and_forbids_nothing(session: FakeSession, vault: Vault) -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/passphrase", "enter")
        await stand.sees("The vault is opened by")
        await fill(stand, PASSPHRASE, "")
        new = stand.app.screen.query_one("#new", Input)
        for text, word in (
            ("abcdefghi", "Weak:"),
            ("abcdefghij", "Fair:"),
            ("a" * 30, "Weak:"),
            ("abcdefgh" * 2, "Fair"),
        ):
            new.value = text
            await stand.sees(word)
        new.value = "nine small wet dogs"
        await stand.sees("Long enough, unless it is a known phrase.")

    drive(body, session)


def test_instructions_are_kept_changed_and_removed() -> None:
    async def body(stand: Stand) -> None:
        store = stand.session.store
        await stand.type("/instructions Answer briefly.", "enter")
        await stand.until(lambda: store.setting("instructions") == "Answer briefly.")
        await stand.type("/instructions", "enter")
        await stand.sees("Answer briefly.")
        await stand.pilot.press("ctrl+j", *"Rhyme.", "enter")
        await stand.until(lambda: store.setting("instructions") == "Answer briefly.\nRhyme.")
        await stand.type("/instructions", "enter")
        await stand.sees("Rhyme.")
        await stand.pilot.press("ctrl+u", "escape")
        await stand.until(lambda: stand.app.screen is stand.chat)
        assert store.setting("instructions") == "Answer briefly.\nRhyme."
        await stand.type("/instructions clear", "enter")
        await stand.sees("New conversations begin with none.")
        assert store.setting("instructions") is None

    drive(body)


def test_a_rating_stands_at_its_answer_and_is_taken_back_by_the_same_command() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [("first question", "first answer"), ("second question", "second answer")])

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.type("/good it rhymes", "enter")
        await stand.sees("cr · rated good: it rhymes")
        assert stand.shown.count("rated") == 1
        await stand.type("/bad", "enter")
        await stand.sees("cr · rated bad")
        await stand.chat.open_chat("c1")
        await stand.sees("cr · rated bad")
        await stand.type("/bad", "enter")
        await stand.sees("Taken back.")
        await stand.misses("rated")
        await stand.pilot.press("ctrl+n")
        await stand.type("/good", "enter")
        await stand.sees("! There is no answer to rate · Ask something first.")

    drive(body, session)
    assert [stored.verdict for stored in session.store.messages["c1"]] == [None] * 4
