"""A conversation that comes from elsewhere, as importers hand it to ``Conversations.import_chat``."""

from dataclasses import dataclass

from nanolocal.chat.messages import Attachment, Role


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """``id`` and ``parent_id`` are the source's own and only link messages; ``author`` names the model that answered.

    ``created_at`` in seconds since 1970.
    """

    id: str
    parent_id: str | None
    role: Role
    text: str
    created_at: float
    author: str | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedChat:
    """A whole conversation, parents before children. ``source`` says where it came from and is taken only once."""

    source: str
    title: str
    created_at: float
    updated_at: float
    system: str | None
    messages: tuple[ImportedMessage, ...]
