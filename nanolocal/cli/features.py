"""What a canary run does with the program: every feature that takes a person's words, each with words of its own."""

import asyncio
import time
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.chat.routes import Kind
from nanolocal.cli.canary import Feature, Trial
from nanolocal.errors import EngineFailed
from nanolocal.paths import Paths

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

_FEW_TOKENS = "8"


def ask(trial: Trial) -> None:
    """A prompt with instructions and a file, answered by the smallest model."""
    build = trial.smallest.get(Kind.TEXT)
    if build is None:
        raise EngineFailed("no text model is stored here")
    prompt = f"Repeat after me: {trial.word('prompt')} {trial.word('title')}"
    wishes = ("--model", str(build.path), "--max-tokens", _FEW_TOKENS, "--system", trial.word("system prompt"))
    trial.run("ask", *wishes, text=prompt, attached=trial.word("attached text"))


def draw(trial: Trial) -> None:
    """A picture by the smallest model."""
    build = trial.smallest.get(Kind.IMAGE)
    if build is None:
        raise EngineFailed("no picture model is stored here")
    trial.run("image", "--model", str(build.path), "--out", "-", text=trial.word("picture prompt"))


def top_up(trial: Trial) -> None:
    """A remark in the ledger."""
    trial.run("credits", "topup", "0.001", "--note", trial.word("ledger note"))


def search(trial: Trial) -> None:
    """A search by the command."""
    trial.run("chats", "search", trial.word("search"))


def keep(trial: Trial) -> None:
    """Everything that can be stored and has no command of its own; looked for while the vault is open, too."""
    from nanolocal import bootstrap

    session = bootstrap.open_session(Paths.choose(trial.home), trial.word("passphrase"))
    try:
        _store(session, trial)
        trial.look()
    finally:
        asyncio.run(session.close())


def _store(session: "Session", trial: Trial) -> None:
    from nanolocal.vault.imported import ImportedChat, ImportedMessage

    store = session.store
    file = Attachment(f"{trial.word('file name')}.txt", "text/plain", trial.word("file").encode() * 500)
    with store.transaction() as tx:
        chat_id = store.start_chat(tx, trial.word("title"), trial.word("system prompt"))
        message_id = store.add_prompt(tx, chat_id, None, Message(Role.USER, trial.word("prompt"), (file,)))
    store.rename_chat(chat_id, trial.word("new title"))
    store.rate(message_id, "good", trial.word("rating"))
    store.keep_setting("instructions", trial.word("private setting"))
    store.search(trial.word("search"))
    words = (trial.word("imported text"), trial.word("imported title"))
    message = ImportedMessage("1", None, Role.USER, words[0], time.time())
    imported = store.import_chat(ImportedChat("a file", words[1], time.time(), time.time(), None, (message,)))
    if imported is not None:
        store.delete_chat(imported)


FEATURES: tuple[Feature, ...] = (
    ("an answer by the smallest model", ask),
    ("a note in the ledger", top_up),
    ("a search", search),
    ("renaming, rating, importing, deleting and private settings", keep),
)
THOROUGH: Feature = ("a picture by the smallest model", draw)
