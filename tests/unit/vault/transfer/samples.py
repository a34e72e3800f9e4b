"""Small exports in the shape that each program gives them."""

import base64
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

from nanolocal.errors import NanolocalError
from nanolocal.vault.imported import ImportedChat
from nanolocal.vault.transfer.reading import chats_in
from nanolocal.vault.transfer.report import Report

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE_ID = "file-Abc123Def456"


def node(name: str, parent: str | None, role: str, content: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    """A node of ChatGPT's mapping; a plain text as content is a text message."""
    body = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    message = {
        "id": name,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000000.0 + len(name),
    }
    message |= {"content": body, "status": "finished_successfully", "weight": 1.0, "recipient": "all", "metadata": {}}
    return {"id": name, "parent": parent, "children": [], "message": message | more}


def chatgpt() -> dict[str, Any]:
    """Custom instructions, a picture, an answer in pieces with code, thought and tool call, and abandoned branches."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": f"file-service://{PICTURE_ID}", "width": 1}
    lost = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_00000000feedbeef"}
    context = {
        "content_type": "user_editable_context",
        "user_profile": "I am a baker.",
        "user_instructions": "Be brief.",
    }
    asked = "How many loaves?"
    slug = {"metadata": {"model_slug": "gpt-4o"}}
    hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
    nodes = [
        {"id": "root", "parent": None, "children": ["system"], "message": None},
        node("system", "root", "system", "", **hidden),
        node("context", "system", "user", context, **hidden),
        node("question", "context", "user", {"content_type": "multimodal_text", "parts": [picture, lost, asked]}),
        node("old answer", "question", "assistant", "Seven.", **slug),
        node("thought", "question", "assistant", {"content_type": "thoughts", "thoughts": [{"content": "hm"}]}),
        node("piece 1 ....", "thought", "assistant", "Let me count.", **slug),
        node(
            "code ........", "piece 1 ....", "assistant",
            {"content_type": "code", "language": "python", "text": "print(6)"}, recipient="python", **slug,
        ),
        node("output ........", "code ........", "tool", {"content_type": "execution_output", "text": "6"}),
        node("search .........", "output ........", "assistant", "{}", recipient="web"),
        node("web ..............", "search .........", "tool", {"content_type": "tether_quote", "text": "page"}),
        node("piece 2 ............", "web ..............", "assistant", "Six.", **slug),
        node("late branch ...........................", "question", "assistant", "Never mind.", weight=0),
        node("later ..................................", "question", "assistant", "Eight.", **slug),
    ]  # fmt: skip
    return {
        "title": "Counting loaves",
        "create_time": 1700000000.5,
        "update_time": 1700000900.25,
        "mapping": {each["id"]: each for each in nodes},
        "current_node": "piece 2 ............",
        "conversation_id": "c-1",
        "default_model_slug": "auto",
    }


def claude() -> dict[str, Any]:
    """An edited question, a pasted text, an upload that is not in the export, a thought, an artifact."""
    root = "00000000-0000-4000-8000-000000000000"
    time = {"created_at": "2025-03-01T10:00:00.123456Z", "updated_at": "2025-03-01T10:00:00Z"}
    artifact = {
        "type": "tool_use",
        "name": "artifacts",
        "input": {"command": "create", "title": "Poem", "content": "Rye"},
    }
    return {
        "uuid": "k-1",
        "name": "Bread poem",
        "created_at": "2025-03-01T09:59:00Z",
        "updated_at": "2025-03-01T11:00:00Z",
        "account": {"uuid": "someone"},
        "chat_messages": [
            {"uuid": "1", "sender": "human", "text": "A poem", "parent_message_uuid": root, **time,
             "content": [{"type": "text", "text": "A poem"}],
             "attachments": [{"file_name": "notes.txt", "extracted_content": "sourdough words"}],
             "files": [{"file_name": "loaf.jpg"}]},
            {"uuid": "2", "sender": "assistant", "text": "Here", "parent_message_uuid": "1", **time,
             "content": [{"type": "thinking", "thinking": "rhymes"}, {"type": "text", "text": "Here:"}, artifact,
                         {"type": "tool_result", "content": []}, {"type": "text", "text": "Enjoy."}]},
            {"uuid": "3", "sender": "human", "text": "A poem on wheat", "parent_message_uuid": root, **time},
        ],
    }  # fmt: skip


def open_webui() -> dict[str, Any]:
    """Two answers side by side, the first one current; times in seconds and nanoseconds."""
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    messages = {
        "q": {"id": "q", "parentId": None, "childrenIds": ["a", "b"], "role": "user", "content": "Which flour?",
              "timestamp": 1710000000, "files": [{"type": "image", "url": url}, {"type": "file", "name": "x.pdf"}]},
        "a": {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "model": "llama3:8b",
              "content": '<details type="reasoning" done="true">hm</details>\nSpelt.', "timestamp": 1710000001},
        "b": {"id": "b", "parentId": "q", "childrenIds": [], "role": "assistant", "model": "qwen:4b",
              "content": "Rye.", "timestamp": 1710000002},
    }  # fmt: skip
    chat = {"title": "Flour", "models": ["llama3:8b", "qwen:4b"], "params": {"system": "You bake."}}
    chat["history"] = {"messages": messages, "currentId": "a"}
    return {"id": "w-1", "title": "Flour", "chat": chat, "created_at": 1710000000, "updated_at": 1710000005 * 10**9}


def lm_studio() -> dict[str, Any]:
    """An answer in two versions, the first one selected and continued."""

    def step(words: str, **more: Any) -> dict[str, Any]:
        return {
            "type": "contentBlock",
            "stepIdentifier": "1736789912999-0.5",
            "content": [{"type": "text", "text": words}],
            **more,
        }

    def answer(*steps: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "multiStep",
            "role": "assistant",
            "senderInfo": {"senderName": "qwen3-4b"},
            "steps": list(steps),
        }

    def said(*parts: dict[str, Any]) -> dict[str, Any]:
        return {"versions": [{"type": "singleStep", "role": "user", "content": list(parts)}], "currentlySelected": 0}

    return {
        "name": "Ovens",
        "createdAt": 1736789912980,
        "systemPrompt": "Be warm.",
        "messages": [
            said({"type": "text", "text": "How hot?"}, {"type": "file", "fileType": "image"}),
            {"versions": [answer(step("hm", style={"type": "thinking"}), step("240 degrees.")), answer(step("Hot."))],
             "currentlySelected": 0},
            said({"type": "text", "text": "Thanks"}),
        ],
    }  # fmt: skip


def jan(folder: Path) -> None:
    """A thread's folder."""
    folder.mkdir(parents=True)
    thread = {"id": "jan_1", "object": "thread", "title": "Yeast", "created": 1720000000, "updated": 1720000100000}
    thread["assistants"] = [{"assistant_name": "Jan", "instructions": "Rise.", "model": {"id": "llama3.2-3b"}}]
    lines = [
        {"object": "thread.message", "thread_id": "jan_1", "role": role, "created_at": at,
         "content": [{"type": "text", "text": {"value": words, "annotations": []}}]}
        for role, at, words in (("assistant", 1720000002, "Yes."), ("user", 1720000001, "Is yeast alive?"))
    ]  # fmt: skip
    (folder / "thread.json").write_text(json.dumps(thread))
    (folder / "messages.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nbroken\n")


def ollama(path: Path, journal: str = "DELETE") -> sqlite3.Connection:
    """The app's database, still open."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"""
        PRAGMA journal_mode={journal};
        CREATE TABLE chats (id TEXT PRIMARY KEY, title TEXT NOT NULL DEFAULT '', created_at TIMESTAMP NOT NULL);
        CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id TEXT NOT NULL, role TEXT NOT NULL,
            content TEXT NOT NULL DEFAULT '', thinking TEXT NOT NULL DEFAULT '', model_name TEXT, created_at TIMESTAMP);
        CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, message_id INTEGER, function_name TEXT);
        CREATE TABLE attachments (id INTEGER PRIMARY KEY, message_id INTEGER, filename TEXT, data BLOB);
        INSERT INTO chats VALUES ('o-1', '', '2025-08-07 10:00:00.123456789-07:00');
        INSERT INTO messages VALUES (1, 'o-1', 'user', 'Knead how long?', '', NULL, '2025-08-07 17:00:01'),
            (2, 'o-1', 'assistant', 'Ten minutes.', 'hm', 'gemma3:4b', '2025-08-07 17:00:02');
        INSERT INTO tool_calls VALUES (1, 2, 'clock');
    """)
    connection.execute("INSERT INTO attachments VALUES (1, 1, 'dough.png', ?)", (PNG,))
    return connection


def webui_database(path: Path) -> None:
    """Open WebUI's own database."""
    item = open_webui()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE chat (id TEXT, user_id TEXT, title TEXT, chat JSON, created_at, updated_at)")
        row = (item["id"], "u", item["title"], json.dumps(item["chat"]), item["created_at"], item["updated_at"])
        connection.execute("INSERT INTO chat VALUES (?, ?, ?, ?, ?, ?)", row)


def zipped(**members: object) -> bytes:
    """An archive; values that are not bytes become JSON. ``__`` in a name stands for a slash, ``_json`` for .json."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            data = value if isinstance(value, bytes) else json.dumps(value)
            archive.writestr(name.replace("__", "/").replace("_json", ".json"), data)
    return buffer.getvalue()


def read(path: Path) -> tuple[list[ImportedChat], Report]:
    """What a file or folder holds, errors as problems."""
    told, chats = Report(str(path)), []
    try:
        chats = list(chats_in(path, told))
    except NanolocalError as problem:
        told.problems.append(problem)
    return chats, told
