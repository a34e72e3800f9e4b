"""Where children keep what they have read of conversations: the parent knows the files and keys, the child writes."""

import asyncio
from dataclasses import replace

from nanolocal.chat.ports import PromptCache, PromptSnapshot
from nanolocal.engines.client import Child
from nanolocal.engines.protocol import Keep, Kept, Leaving


class Keeper:
    """The kept conversations of the build with that SHA-256; without a ``cache`` nothing is kept."""

    def __init__(self, cache: PromptCache | None, sha256: str) -> None:
        self._cache = cache
        self._sha256 = sha256
        self._promised: dict[str, PromptSnapshot] = {}

    async def folder(self) -> str:
        """Where its files lie, ``""`` for nowhere."""
        folder = None if self._cache is None else await asyncio.to_thread(self._cache.folder)
        return "" if folder is None else str(folder)

    async def find(self, chat_id: str) -> PromptSnapshot | None:
        """What was kept of a conversation."""
        if self._cache is None or not chat_id:
            return None
        return await asyncio.to_thread(self._cache.find, self._sha256, chat_id)

    async def take(self, child: Child, frame: Leaving | Kept) -> None:
        """Answer what a child says of a conversation: it asks for a place, or has used it, or found it unreadable."""
        if isinstance(frame, Leaving):
            place = None if self._cache is None else await asyncio.to_thread(self._cache.reserve, frame.size)
            if place is not None:
                self._promised[frame.chat] = place
            child.send(Keep(frame.chat, "", b"") if place is None else Keep(frame.chat, str(place.path), place.key))
        elif self._cache is not None:
            await asyncio.to_thread(self._settle, self._cache, frame)

    def _settle(self, cache: PromptCache, frame: Kept) -> None:
        snapshot = self._promised.pop(frame.chat, None) or cache.find(self._sha256, frame.chat)
        if snapshot is None:
            return
        if frame.size:
            cache.keep(replace(snapshot, tokens=frame.tokens, size=frame.size), self._sha256, frame.chat)
        else:
            cache.drop(snapshot)
