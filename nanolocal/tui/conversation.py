"""The conversation on the screen: where it stands and what the next request looks like. Knows no widget."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nanolocal.chat.choice import Choice
from nanolocal.chat.messages import Attachment, TurnRequest, Wishes
from nanolocal.chat.ports import StoredMessage
from nanolocal.chat.routes import Task
from nanolocal.tui.turns import Turn, pair


@dataclass(frozen=True, slots=True)
class Offer:
    """A prompt that was refused for lack of credit, and how long an answer to it can be paid."""

    text: str
    attachments: tuple[Attachment, ...]
    tokens: int


@dataclass(slots=True)
class Conversation:
    """``path`` is the branch shown, from the first message to the tip; ``choice`` says who answers next.

    ``editing`` is the prompt that the next one will stand beside. ``offer`` shortens the answer to the same prompt.
    ``rivals`` are to answer the next prompt in a comparison; none in it are the best two.
    """

    chat_id: str | None = None
    path: tuple[StoredMessage, ...] = ()
    choice: Choice = field(default_factory=Choice)
    editing: StoredMessage | None = None
    offer: Offer | None = None
    rivals: tuple[str, ...] | None = None

    @property
    def turns(self) -> list[Turn]:
        """The branch as prompts with their answers."""
        return pair(self.path)

    @property
    def last(self) -> Turn | None:
        """The newest turn of the branch."""
        turns = self.turns
        return turns[-1] if turns else None

    def goes_to(self, path: Sequence[StoredMessage]) -> None:
        """Show another branch, or the same one after it grew."""
        self.path = tuple(path)

    def next_request(self, text: str, attachments: tuple[Attachment, ...], wants_picture: bool = False) -> TurnRequest:
        """What to ask after the tip, or beside the prompt that is being edited."""
        parent = self.path[-1].id if self.path else None
        if self.editing is not None:
            parent = self.editing.parent_id or ""
        offer = self.offer
        is_same = offer is not None and not wants_picture and (offer.text, offer.attachments) == (text, attachments)
        most = offer.tokens if offer is not None and is_same else None
        wishes = self._wishes(wants_picture)
        return TurnRequest(text, attachments, replace(wishes, max_tokens=most), self.chat_id, parent)

    def again_request(self) -> TurnRequest | None:
        """What to ask to answer the last prompt once more; ``None`` where there is none."""
        last = self.last
        if last is None:
            return None
        was_drawn = last.answer is not None and last.answer.task == Task.IMAGE_GEN
        return TurnRequest(None, (), self._wishes(was_drawn), self.chat_id, last.prompt.id)

    def _wishes(self, wants_picture: bool = False) -> Wishes:
        name = self.choice.name(for_picture=wants_picture)
        return Wishes(model=name, prefer=self.choice.prefer, picture=wants_picture)
