"""What is imported opens at its current branch, is found by its words, and is nowhere on disk in clear."""

import json
from pathlib import Path

import pytest

from nanolocal.chat.jobs import conversation
from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.errors import UsageError
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.imported import ImportedChat
from nanolocal.vault.scan import leaks
from nanolocal.vault.transfer.importing import take
from nanolocal.vault.transfer.places import histories
from nanolocal.vault.transfer.report import Report
from tests.fakes.homes import BUILD, home
from tests.unit.vault.transfer import samples


def save(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def told_of(path: Path, store: Conversations, *, dry_run: bool = False) -> Report:
    told = Report(str(path))
    take(path, store, told, lambda _: None, dry_run=dry_run)
    return told


def test_the_current_branch_opens_and_can_be_continued_and_costs_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x", [samples.chatgpt(), samples.open_webui()])
    with home(tmp_path / "home") as here:
        before = here.wallet.verify()
        assert told_of(path, here.store).taken == 2
        flour, loaves = sorted(here.store.chats(9), key=lambda row: row.title, reverse=True)
        assert [each.message.text for each in here.store.path(flour.id)] == ["Which flour?", "Spelt."]
        branch = here.store.path(loaves.id)
        assert (branch[-1].build_id, len(branch[-1].siblings)) == ("gpt-4o", 3)
        assert branch[-1].message.text.endswith("Six.")
        assert here.wallet.verify() == before
        assert [hit.chat_id for hit in here.store.search("model:llama3 spelt", 9)] == [flour.id]
        assert [hit.chat_id for hit in here.store.search("loaves", 9)] == [loaves.id]


def test_importing_twice_takes_nothing_twice_and_a_dry_run_takes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x", [samples.chatgpt(), samples.claude(), samples.claude()])
    with home(tmp_path / "home") as here:
        for dry_run, taken, already_here in ((True, 2, 1), (False, 2, 1), (False, 0, 3), (True, 0, 3)):
            told = told_of(path, here.store, dry_run=dry_run)
            assert (told.taken, told.already_here) == (taken, already_here)
            assert len(here.store.chats(9)) == (0 if (dry_run, taken) == (True, 2) else 2)


def test_a_chat_that_cannot_be_stored_ends_the_import_and_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x", [samples.claude(), samples.chatgpt()])
    with home(tmp_path / "home") as here:
        real = here.store.import_chat

        def full(chat: ImportedChat) -> str | None:
            if chat.source.startswith("chatgpt"):
                raise UsageError("cannot store an attachment: No space left on device")
            return real(chat)

        monkeypatch.setattr(here.store, "import_chat", full)
        told = Report("")
        with pytest.raises(UsageError):
            take(path, here.store, told, lambda _: None)
        assert (told.taken, [row.title for row in here.store.chats(9)]) == (1, ["Bread poem"])


def test_an_older_file_that_is_no_text_does_not_keep_a_conversation_from_going_on(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        files = (Attachment("a.pdf", "application/pdf", b"%PDF-\xff"), Attachment("b.txt", "text/plain", b"kept"))
        chat_id, _, _ = here.turn("first", "answer", attachments=files)
        messages = conversation(here.store.path(chat_id), None, Message(Role.USER, "next"), BUILD)
    assert [message.text for message in messages] == ["[b.txt]\nkept\n\nfirst", "answer", "next"]


def test_no_word_of_an_import_is_on_disk_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = "canaryquartzzephyr"
    outside, temporary = tmp_path / "outside", tmp_path / "home" / "tmp"
    outside.mkdir()
    temporary.mkdir(parents=True)
    temporary.parent.chmod(0o700)
    monkeypatch.setenv("TMPDIR", str(temporary))
    item = json.loads(json.dumps(samples.claude()).replace("poem", word).replace("sourdough", f"{word}file"))
    (outside / "x.zip").write_bytes(samples.zipped(conversations_json=[item]))
    app = samples.ollama(outside / "db.sqlite", "WAL")
    app.execute("UPDATE messages SET content = content || ?", (f" {word}ollama",))
    with home(tmp_path / "home" / "vault") as here:
        assert told_of(outside / "x.zip", here.store).taken == 1
        assert told_of(outside / "db.sqlite", here.store).taken == 1
        assert len(here.store.search(word, 9)) >= 3
        assert leaks(tmp_path / "home", [word]) == []
    app.close()
    assert leaks(tmp_path / "home", [word, "conversations.json"]) == []
    assert leaks(outside, [word]) != []


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {}, ".config/Jan/data/threads"),
        ("linux", {"XDG_CONFIG_HOME": "own"}, "own/Jan/data/threads"),
        ("darwin", {}, "Library/Application Support/Jan/data/threads"),
        ("win32", {"APPDATA": "roam"}, "roam/Jan/data/threads"),
        ("win32", {}, "AppData/Roaming/Jan/data/threads"),
        ("linux", {}, ".lmstudio/conversations"),
        ("darwin", {}, ".cache/lm-studio/conversations"),
    ],
)
def test_the_histories_of_other_programs_are_found(
    tmp_path: Path, platform: str, environment: dict[str, str], folder: str
) -> None:
    places = {name: str(tmp_path / value) for name, value in environment.items()}
    assert histories(tmp_path, places, platform) == []
    (tmp_path / folder).mkdir(parents=True)
    assert histories(tmp_path, places, platform) == []
    (tmp_path / folder / "x").touch()
    assert histories(tmp_path, places, platform) == [tmp_path / folder]


def test_the_databases_of_other_programs_are_found(tmp_path: Path) -> None:
    for platform, place in (
        ("darwin", "Library/Application Support/Ollama/db.sqlite"),
        ("win32", "AppData/Local/Ollama/db.sqlite"),
        ("linux", ".ollama/history"),
        ("linux", ".open-webui/data/webui.db"),
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
        assert tmp_path / place in histories(tmp_path, {}, platform)
