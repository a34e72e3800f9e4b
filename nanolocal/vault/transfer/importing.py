"""Takes conversations from files and folders into a vault, each whole or not at all, and tells what became of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from nanolocal.errors import UsageError
from nanolocal.vault.imported import ImportedChat
from nanolocal.vault.transfer.reading import chats_in
from nanolocal.vault.transfer.report import Report


class Taker(Protocol):
    """What keeps conversations: ``vault.conversations.Conversations``."""

    def import_chat(self, chat: ImportedChat) -> str | None:
        """Store it, or return ``None`` when its source is already here."""
        ...

    def is_imported(self, source: str) -> bool:
        """Whether a source is already here."""
        ...


def take(path: Path, store: Taker, told: Report, progress: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Store every conversation of ``path`` that is not here yet (with ``dry_run`` only count them) into ``told``.

    A file that cannot be read becomes one of its problems. Raises ``NanolocalError`` when the vault cannot store.
    """
    seen: set[str] = set()
    chats = chats_in(path, told)
    while True:
        try:
            chat = next(chats, None)
        except UsageError as problem:
            told.problems.append(problem)
            return
        except OSError as error:
            told.problems.append(UsageError(f"cannot be read: {error.strerror}", "check that you may read it"))
            return
        if chat is None:
            return
        is_here = chat.source in seen or store.is_imported(chat.source)
        if is_here or (not dry_run and store.import_chat(chat) is None):
            told.already_here += 1
        else:
            told.taken += 1
            told.messages += len(chat.messages)
            told.attachments += sum(len(message.attachments) for message in chat.messages)
        seen.add(chat.source)
        progress(f"{path.name}: {told.taken + told.already_here:,} conversations")
