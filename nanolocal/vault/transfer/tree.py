"""Makes a sound conversation of messages as a program left them: loops, gaps and repeated ids included."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nanolocal.chat.messages import Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer.report import EMPTY, Notes

_LONGEST_TITLE = 60


def grown(
    messages: Iterable[ImportedMessage],
    notes: Notes,
    current: str | None = None,
    skipped: Mapping[str, str | None] | None = None,
    *,
    joins: bool = False,
) -> tuple[ImportedMessage, ...]:
    """The messages, parents before children and else in the order given, the branch through ``current`` ending last.

    ``skipped`` are ids that carry no message, with their parents: what follows them moves up. With ``joins``
    the pieces of one answer that follow each other become one message.
    """
    known = _unique(messages)
    parents = {**(skipped or {}), **{message.id: message.parent_id for message in known.values()}}
    above = _nearest(parents, known, notes)
    ordered = _parents_first([replace(message, parent_id=above[message.id]) for message in known.values()])
    tip = current if current in known else above.get(current or "")
    if joins:
        ordered, moved = _joined(ordered)
        tip = moved.get(tip or "", tip)
    return tuple(_ending_below(ordered, tip))


def conversation(
    source: tuple[str, str],
    title: str,
    times: tuple[float | None, float | None],
    system: str,
    messages: Sequence[ImportedMessage],
    notes: Notes,
) -> ImportedChat | None:
    """The whole conversation, or ``None`` (and a note) when it holds no message.

    ``source`` is its program and the id there; without an id its texts identify it. ``times`` are its first and
    last, where known.
    """
    if not messages:
        notes.add(*EMPTY)
        return None
    program, identity = source
    first = next((message.text for message in messages if message.role is Role.USER), messages[0].text)
    created = times[0] or min(message.created_at for message in messages)
    return ImportedChat(
        f"{program}:{identity or _digest(messages)}",
        title or " ".join(first.split())[:_LONGEST_TITLE] or "Untitled",
        created,
        times[1] or max(created, *(message.created_at for message in messages)),
        system or None,
        tuple(messages),
    )


def _unique(messages: Iterable[ImportedMessage]) -> dict[str, ImportedMessage]:
    """By id; a message whose id came before gets a new one and stays."""
    known: dict[str, ImportedMessage] = {}
    for message in messages:
        name = message.id
        if name in known:
            name = f"{message.id}#{len(known)}"
        while name in known:
            name += "#"
        known[name] = replace(message, id=name)
    return known


def _nearest(
    parents: Mapping[str, str | None], kept: Mapping[str, ImportedMessage], notes: Notes
) -> dict[str, str | None]:
    """For every id the closest one above it that carries a message; loops are cut, gaps end at the start."""
    above: dict[str, str | None] = {}
    for start in parents:
        trail: dict[str, None] = {}
        here: str | None = start
        while here is not None and here in parents and here not in above and here not in trail:
            trail[here] = None
            here = parents[here]
        reached = None
        if here in trail:
            notes.add("message loop", "cut open")
        elif here in above:
            reached = here if here in kept else above[here]
        elif here is not None:
            notes.add("message", "kept at the start: the one before it is missing")
        for each in reversed(trail):
            above[each] = reached
            reached = each if each in kept else reached
    return above


def _parents_first(messages: Sequence[ImportedMessage]) -> list[ImportedMessage]:
    followers: dict[str | None, list[int]] = {}
    for place, message in enumerate(messages):
        followers.setdefault(message.parent_id, []).append(place)
    ready, ordered = followers.get(None, []), []
    while ready:
        message = messages[heapq.heappop(ready)]
        ordered.append(message)
        for place in followers.get(message.id, []):
            heapq.heappush(ready, place)
    return ordered


def _joined(messages: Sequence[ImportedMessage]) -> tuple[list[ImportedMessage], dict[str, str]]:
    """Every answer that alone follows an answer joined to it, and which id went into which."""
    branches = Counter(message.parent_id for message in messages)
    pieces: dict[str, list[ImportedMessage]] = {}
    moved: dict[str, str] = {}
    for message in messages:
        parent_id = moved.get(message.parent_id or "", message.parent_id)
        before = pieces.get(parent_id or "")
        is_piece = before is not None and before[0].role is message.role is Role.ASSISTANT
        if before is None or not is_piece or branches[message.parent_id] > 1:
            pieces[message.id] = [replace(message, parent_id=parent_id)]
        else:
            before.append(message)
            moved[message.id] = before[0].id
    return [_one(each) for each in pieces.values()], moved


def _one(pieces: Sequence[ImportedMessage]) -> ImportedMessage:
    if len(pieces) == 1:
        return pieces[0]
    return replace(
        pieces[0],
        text="\n\n".join(piece.text for piece in pieces if piece.text),
        author=next((piece.author for piece in pieces if piece.author), None),
        attachments=tuple(item for piece in pieces for item in piece.attachments),
    )


def _ending_below(messages: list[ImportedMessage], tip: str | None) -> list[ImportedMessage]:
    below, last = {tip}, None
    for message in messages:
        if message.id == tip or message.parent_id in below:
            below.add(message.id)
            last = message
    if tip is None or last is None:
        return messages
    return [message for message in messages if message is not last] + [last]


def _digest(messages: Iterable[ImportedMessage]) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(f"{message.role}\0{message.text}\0".encode("utf-8", "replace"))
    return digest.hexdigest()[:32]
