"""Whole conversations: as importers hand them to ``Conversations.import_chat``, and as exporters get them."""

from dataclasses import dataclass

from nanolocal.chat.messages import Attachment, Role, Source
from nanolocal.chat.ports import StoredMessage


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """``id`` and ``parent_id`` are the source's own and only link messages; ``author`` names the model that answered.

    ``created_at`` in seconds since 1970; ``task``, ``stopped`` and ``sources`` as nanolocal had stored them, where it
    had.
    """

    id: str
    parent_id: str | None
    role: Role
    text: str
    created_at: float
    author: str | None = None
    attachments: tuple[Attachment, ...] = ()
    task: str | None = None
    stopped: str | None = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedChat:
    """A whole conversation, parents before children. ``source`` says where it came from and is taken only once."""

    source: str
    title: str
    created_at: float
    updated_at: float
    system: str | None
    messages: tuple[ImportedMessage, ...]


@dataclass(frozen=True, slots=True)
class WholeChat:
    """A stored conversation with every branch, in the order its messages were stored; ``source`` if it was imported."""

    id: str
    source: str | None
    title: str
    created_at: float
    updated_at: float
    system: str | None
    messages: tuple[StoredMessage, ...]
