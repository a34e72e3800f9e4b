"""State that survives being cut off, in two files written in turn: one of them is always whole.

An isolated child can rewrite files that are there but neither make nor remove any (``engines.isolation``): ``slots``
says which ones have to be made for it, empty.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nanolocal.errors import Damaged

State = dict[str, object]


def slots(path: Path) -> tuple[Path, Path]:
    """The two files of the checkpoint ``path``."""
    return path.with_name(f"{path.name}.0"), path.with_name(f"{path.name}.1")


class Checkpoint:
    """The state of one work, told from others by ``key``; without a path nothing is kept."""

    def __init__(self, path: Path | None, key: str) -> None:
        self._slots = slots(path) if path is not None else None
        self._key = key
        self._count = 0

    def save(self, state: State) -> None:
        """Keep ``state``: tensors, numbers, texts, and lists and dicts of them."""
        import torch

        if self._slots is None:
            return
        self._count += 1
        with self._slots[self._count % 2].open("wb") as file:
            torch.save({"key": self._key, "count": self._count, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> State | None:
        """The last state that was kept whole, ``None`` if there is none; raises ``Damaged`` for one of other work."""
        if self._slots is None:
            return None
        found = [kept for kept in map(_read, self._slots) if kept is not None]
        if not found:
            return None
        last = max(found, key=lambda kept: int(str(kept["count"])))
        if last["key"] != self._key:
            raise Damaged(f"{self._slots[0].name} is a checkpoint of other work", "delete it and begin anew")
        self._count = int(str(last["count"]))
        state = last["state"]
        assert isinstance(state, dict)
        return state

    def clear(self) -> None:
        """Forget what was kept; where files cannot be removed they are emptied."""
        for slot in self._slots or ():
            if slot.exists():
                slot.open("wb").close()
                with suppress(OSError):
                    slot.unlink()


def _read(slot: Path) -> State | None:
    """What one file holds; ``None`` for one that is empty, or that was being written when its process ended."""
    import torch

    try:
        kept = torch.load(slot, map_location="cpu", weights_only=True)
    except Exception:  # torch raises what it likes for a broken file
        return None
    return kept if isinstance(kept, dict) and {"key", "count", "state"} <= set(kept) else None
