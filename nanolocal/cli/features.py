"""What a canary run does with the program: every feature that takes a person's words, each with words of its own."""

import asyncio
import time
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Attachment, Role
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

    store, now = session.store, time.time()
    file = Attachment(f"{trial.word('file name')}.txt", "text/plain", trial.word("file").encode() * 500)
    prompt = ImportedMessage("1", None, Role.USER, trial.word("imported prompt"), now, None, (file,))
    answer = ImportedMessage("2", "1", Role.ASSISTANT, trial.word("imported answer"), now, trial.word("model name"))
    title, system = trial.word("imported title"), trial.word("imported instructions")
    for source in ("to keep", "to delete"):
        chat_id = store.import_chat(ImportedChat(source, title, now, now, system, (prompt, answer))) or ""
        store.rename_chat(chat_id, trial.word("new title"))
        store.rate(store.path(chat_id)[-1].id, "good", trial.word("rating"))
    store.delete_chat(chat_id)
    store.keep_setting("instructions", trial.word("private setting"))
    store.search(trial.word("search"))


FEATURES: tuple[Feature, ...] = (
    ("an answer by the smallest model", ask),
    ("a note in the ledger", top_up),
    ("a search", search),
    ("renaming, rating, importing, deleting and private settings", keep),
)
THOROUGH: Feature = ("a picture by the smallest model", draw)
