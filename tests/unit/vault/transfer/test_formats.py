"""Each program's export, in the shape it truly has, comes out as the conversation it was."""

import json
from pathlib import Path

import pytest

from nanolocal.chat.messages import Role
from nanolocal.vault.imported import ImportedChat
from tests.unit.vault.transfer import samples
from tests.unit.vault.transfer.samples import PNG, read


def the_only(path: Path, name: str) -> tuple[ImportedChat, list[str]]:
    (chat,), told = read(path)
    assert (told.formats, told.problems) == ([name], [])
    return chat, told.notes.lines()


def outline(chat: ImportedChat) -> list[tuple[str, str, str | None]]:
    """Texts, each with the text it follows and its author."""
    texts = {message.id: message.text for message in chat.messages}
    return [(message.text, texts.get(message.parent_id or "", ""), message.author) for message in chat.messages]


def save(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("name", ["conversations.json", "conversations-000.json", "any name"])
def test_chatgpt(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{samples.PICTURE_ID}-loaf.dat").write_bytes(PNG)
    chat, notes = the_only(save(tmp_path / name, [samples.chatgpt()]), "ChatGPT")
    assert (chat.source, chat.title, chat.system) == ("chatgpt:c-1", "Counting loaves", "I am a baker.\n\nBe brief.")
    assert (chat.created_at, chat.updated_at) == (1700000000.5, 1700000900.25)
    joined = "Let me count.\n\n```python\nprint(6)\n```\n\n```\n6\n```\n\nSix."
    assert outline(chat) == [
        ("How many loaves?", "", None),
        ("Seven.", "How many loaves?", "gpt-4o"),
        ("Eight.", "How many loaves?", "gpt-4o"),
        (joined, "How many loaves?", "gpt-4o"),
    ]
    (picture,) = chat.messages[0].attachments
    assert (picture.data, picture.media_type) == (PNG, "image/png")
    assert notes == [
        "1 hidden message left out: its program does not show it either",
        "1 picture left out: not in the export",
        "1 thought left out: reasoning is no part of an answer",
        "1 tool call left out: nanolocal has none",
        "1 tool result left out: nanolocal has no tools",
    ]


def test_chatgpt_in_its_archive(tmp_path: Path) -> None:
    path = tmp_path / "download"
    members = {"conversations-000_json": [samples.chatgpt()], f"dalle__{samples.PICTURE_ID}-1.webp": PNG}
    path.write_bytes(samples.zipped(**members, user_json={"id": "u"}, chat=b"<html>"))
    chat, notes = the_only(path, "ChatGPT")
    assert chat.messages[0].attachments[0].data == PNG
    assert "2 other files left out: no part of a conversation" in notes


def test_chatgpt_without_parents_without_times_and_with_the_old_instructions(tmp_path: Path) -> None:
    about = {"user_context_message_data": {"about_user_message": "I row.", "about_model_message": "Rhyme."}}
    mapping = {
        "r": {"children": ["s"]},
        "s": {"children": ["q"], **samples.node("s", None, "system", "", metadata=about)} | {"children": ["q"]},
        "q": samples.node("q", None, "user", "why", create_time=None) | {"children": ["a"], "parent": None},
        "a": samples.node("a", None, "assistant", "so", create_time=None) | {"parent": None},
    }
    chat, _ = the_only(save(tmp_path / "x", {"mapping": mapping, "create_time": 5.0}), "ChatGPT")
    assert [text for text, *_ in outline(chat)] == ["why", "so"]
    assert (chat.messages[1].parent_id, chat.messages[0].created_at, chat.title) == ("q", 5.0, "why")
    assert (chat.system, chat.source.startswith("chatgpt:")) == ("I row.\n\nRhyme.", True)


def test_claude(tmp_path: Path) -> None:
    chat, notes = the_only(save(tmp_path / "conversations.json", [samples.claude()]), "Claude")
    assert (chat.source, chat.title, chat.system) == ("claude:k-1", "Bread poem", None)
    assert outline(chat) == [
        ("A poem", "", None),
        ("Here:\n\nEnjoy.", "A poem", "claude"),
        ("A poem on wheat", "", None),
    ]
    assert chat.messages[0].created_at == pytest.approx(1740823200.123456)
    pasted, poem = chat.messages[0].attachments[0], chat.messages[1].attachments[0]
    assert (pasted.name, pasted.data, poem.name, poem.data) == ("notes.txt", b"sourdough words", "Poem.txt", b"Rye")
    assert notes == [
        "1 picture left out: not in the export",
        "1 thought left out: reasoning is no part of an answer",
        "1 tool result left out: nanolocal has no tools",
    ]


def test_claude_before_it_had_branches(tmp_path: Path) -> None:
    item = samples.claude()
    for message in item["chat_messages"]:
        del message["parent_message_uuid"]
    chat, _ = the_only(save(tmp_path / "x", item), "Claude")
    assert [parent for _, parent, _ in outline(chat)] == ["", "A poem", "Here:\n\nEnjoy."]


@pytest.mark.parametrize("shape", ["list", "one", "inner", "database"])
def test_open_webui(tmp_path: Path, shape: str) -> None:
    item = samples.open_webui()
    path = tmp_path / "webui.db"
    if shape == "database":
        samples.webui_database(path)
    else:
        save(path, {"list": [item], "one": item, "inner": item["chat"]}[shape])
    chat, notes = the_only(path, "Open WebUI")
    assert (chat.title, chat.system) == ("Flour", "You bake.")
    assert outline(chat) == [
        ("Which flour?", "", None),
        ("Rye.", "Which flour?", "qwen:4b"),
        ("Spelt.", "Which flour?", "llama3:8b"),
    ]
    assert [(item.name, item.data) for item in chat.messages[0].attachments] == [("picture.png", PNG)]
    assert notes[:2] == ["1 file left out: not in the export", "1 thought left out: reasoning is no part of an answer"]
    if shape != "inner":
        assert (chat.source, chat.created_at, chat.updated_at) == ("open-webui:w-1", 1710000000.0, 1710000005.0)


def test_open_webui_before_it_had_branches(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "model": "m"}]
    chat, _ = the_only(save(tmp_path / "x", [{"id": "1", "chat": {"messages": messages}}]), "Open WebUI")
    assert outline(chat) == [("a", "", None), ("b", "a", "m")]


def test_lm_studio(tmp_path: Path) -> None:
    path = save(tmp_path / "1736789912980.conversation.json", samples.lm_studio())
    chat, notes = the_only(path, "LM Studio")
    assert (chat.source, chat.title) == ("lm-studio:1736789912980-1736789912980", "Ovens")
    assert (chat.system, chat.created_at) == ("Be warm.", 1736789912.98)
    assert outline(chat) == [
        ("How hot?", "", None),
        ("240 degrees.", "How hot?", "qwen3-4b"),
        ("Hot.", "How hot?", "qwen3-4b"),
        ("Thanks", "240 degrees.", None),
    ]
    assert chat.messages[1].created_at == 1736789912.999
    assert notes == ["1 picture left out: not in the export", "1 thought left out: reasoning is no part of an answer"]


@pytest.mark.parametrize("given", [".", "jan_1", "jan_1/thread.json", "jan_1/messages.jsonl"])
def test_jan(tmp_path: Path, given: str) -> None:
    samples.jan(tmp_path / "threads" / "jan_1")
    chat, notes = the_only(tmp_path / "threads" / given, "Jan")
    assert (chat.source, chat.title, chat.system) == ("jan:jan_1", "Yeast", "Rise.")
    assert (chat.created_at, chat.updated_at) == (1720000000.0, 1720000100.0)
    assert outline(chat) == [("Is yeast alive?", "", None), ("Yes.", "Is yeast alive?", "llama3.2-3b")]
    assert notes == ["1 line left out: not valid JSON"]


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_ollama_also_while_its_app_is_open(tmp_path: Path, journal: str) -> None:
    app = samples.ollama(tmp_path / "db.sqlite", journal)
    chat, notes = the_only(tmp_path / "db.sqlite", "Ollama")
    app.close()
    assert (chat.source, chat.title, chat.created_at) == ("ollama:o-1", "Knead how long?", 1754586000.123456)
    assert outline(chat) == [("Knead how long?", "", None), ("Ten minutes.", "Knead how long?", "gemma3:4b")]
    assert (chat.messages[0].attachments[0].name, chat.messages[0].attachments[0].data) == ("dough.png", PNG)
    assert notes == [
        "1 thought left out: reasoning is no part of an answer",
        "1 tool call left out: nanolocal has none",
    ]


def test_ollamas_prompt_lines_are_no_conversation(tmp_path: Path) -> None:
    (tmp_path / ".ollama").mkdir()
    (tmp_path / ".ollama" / "history").write_text("why\nhow\n")
    chats, told = read(tmp_path / ".ollama" / "history")
    assert (chats, told.problems) == ([], [])
    assert told.notes.lines() == ["2 prompt lines left out: without answers they are no conversation"]


def test_a_folder_of_everything_is_read_and_a_broken_part_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(samples.zipped(conversations_json=[samples.claude(), 7, {"mapping": {}}]))
    (tmp_path / "b.zip").write_bytes(samples.zipped(x_json=1)[:-30])
    save(tmp_path / "c.json", samples.lm_studio())
    (tmp_path / "d.json").write_text('{"mapping": ')
    samples.jan(tmp_path / "e")
    samples.ollama(tmp_path / "f.db").close()
    (tmp_path / "g.txt").write_text("x")
    chats, told = read(tmp_path)
    assert sorted(chat.title for chat in chats) == ["Bread poem", "Knead how long?", "Ovens", "Yeast"]
    assert sorted(told.formats) == ["ChatGPT", "Claude", "Jan", "LM Studio", "Ollama"]
    assert len(told.problems) == 2
    assert told.problems[0].message.startswith("b.zip is not a whole zip archive")
    assert told.problems[1].message.startswith("d.json is not valid JSON")
    lines = told.notes.lines()
    assert "1 part left out: no conversation" in lines
    assert "1 empty conversation left out: it holds no message" in lines
    assert "1 other file left out: no part of a conversation" in lines


def test_system_messages_of_a_tree_keep_their_role(tmp_path: Path) -> None:
    item = samples.open_webui()
    item["chat"]["history"]["messages"]["q"]["role"] = "system"
    chat, _ = the_only(save(tmp_path / "x", item), "Open WebUI")
    assert chat.messages[0].role is Role.SYSTEM
