"""The part of a session that the terminal app uses, as protocols; ``bootstrap.Session`` satisfies them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nanolocal.chat.compressing import Outlook
from nanolocal.chat.decisions import Weighed
from nanolocal.chat.events import Event
from nanolocal.chat.messages import Attachment, TurnRequest, Usage
from nanolocal.chat.ports import EngineStatus, Gallery, StoredMessage
from nanolocal.chat.redrawing import Drawers
from nanolocal.chat.routes import Build
from nanolocal.chat.turn import Quote
from nanolocal.errors import Damaged
from nanolocal.settings import Settings


class ChatRow(Protocol):
    """A conversation in the list."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def title(self) -> str:
        """Its title, as stored: not yet safe to draw."""
        ...

    @property
    def updated_at(self) -> float:
        """Seconds since 1970."""
        ...

    @property
    def messages(self) -> int:
        """How many messages it holds."""
        ...


class Hit(Protocol):
    """A message that a search found."""

    @property
    def chat_id(self) -> str:
        """The conversation."""
        ...

    @property
    def message_id(self) -> str | None:
        """The message, ``None`` where only the title fits."""
        ...

    @property
    def title(self) -> str:
        """Its title, as stored: not yet safe to draw."""
        ...

    @property
    def snippet(self) -> str:
        """The words around the match, as stored: not yet safe to draw."""
        ...

    @property
    def marks(self) -> Sequence[tuple[int, int]]:
        """The places in the snippet, start and end, that match."""
        ...

    @property
    def created_at(self) -> float:
        """Seconds since 1970."""
        ...


class EntryRow(Protocol):
    """A line of the ledger."""

    @property
    def seq(self) -> int:
        """Its place in the ledger."""
        ...

    @property
    def ts(self) -> float:
        """Seconds since 1970."""
        ...

    @property
    def kind(self) -> str:
        """What happened: grant, settle, ..."""
        ...

    @property
    def amount_micro(self) -> int:
        """Micro-credits; a charge is negative."""
        ...

    @property
    def build_id(self) -> str | None:
        """The build that was paid for."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What was paid for."""
        ...

    @property
    def note(self) -> str | None:
        """What the owner or a repair said about it: not yet safe to draw."""
        ...


class ConversationsPort(Protocol):
    """Reads, rates and deletes conversations. Every call may block on the disk."""

    def chats(self, limit: int, offset: int = 0) -> Sequence[ChatRow]:
        """The newest conversations first."""
        ...

    def search(self, query: str, limit: int) -> Sequence[Hit]:
        """The messages that fit ``query`` best."""
        ...

    def delete_chat(self, chat_id: str) -> None:
        """Erase a conversation."""
        ...

    def rate(self, message_id: str, verdict: str | None, note: str = "") -> None:
        """Keep what the user thinks of an answer; ``None`` takes it back."""
        ...

    def newest_below(self, chat_id: str, message_id: str) -> str:
        """The newest message of the branch that ``message_id`` begins."""
        ...

    def hold_of(self, message_id: str) -> str | None:
        """The hold under which an answer was charged."""
        ...

    def setting(self, name: str) -> str | None:
        """A private setting."""
        ...

    def keep_setting(self, name: str, value: str | None) -> None:
        """Keep a private setting; ``None`` removes it."""
        ...

    def path(self, chat_id: str, tip_id: str | None = None) -> Sequence[StoredMessage]:
        """The messages from the first to ``tip_id``, the newest leaf if ``None``."""
        ...


class BudgetRow(Protocol):
    """A budget in force."""

    @property
    def scope(self) -> object:
        """What it limits; as text ``day``, ``model:ID/month`` and the like: not yet safe to draw."""
        ...

    @property
    def limit_micro(self) -> int:
        """Micro-credits."""
        ...


class WalletPort(Protocol):
    """The ledger. Every call may block on the disk; those that write raise ``UsageError``, or ``Damaged`` if it is."""

    @property
    def problem(self) -> Damaged | None:
        """Why it can only be read, if so."""
        ...

    def balance(self) -> int:
        """Micro-credits that can be spent now."""
        ...

    def spending(self) -> tuple[int, int]:
        """Micro-credits spent and held today and in this month."""
        ...

    def budgets(self) -> Sequence[tuple[BudgetRow, int | None]]:
        """Every budget with what is spent and held under it now; ``None`` where each one has its own sum."""
        ...

    def receipt(self, name: str) -> Sequence[tuple[str, str]]:
        """The receipt of an entry, by its number or its hold, as names and values: not yet safe to draw."""
        ...

    def hold_named(self, name: str) -> str:
        """The id of the hold that an entry is about, named as for ``receipt``; ``""`` where it is about none."""
        ...

    def top_up(self, amount_micro: int) -> int:
        """Grant the wallet an amount; returns the new balance."""
        ...

    def set_budget(self, scope: str, limit_micro: int | None) -> None:
        """Limit what may be spent; ``None`` lifts the limit."""
        ...

    def history(self, limit: int) -> Sequence[EntryRow]:
        """The newest entries first."""
        ...


class ProblemPort(Protocol):
    """A file that looks like a build and is not usable."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not usable."""
        ...


class LibraryPort(Drawers, Protocol):
    """The builds on this device."""

    def problems(self) -> Sequence[ProblemPort]:
        """Files that look like builds and are not usable."""
        ...


class EnginesPort(Protocol):
    """The running engines."""

    def status(self) -> Sequence[EngineStatus]:
        """What is in memory."""
        ...

    def kill(self, build_id: str) -> None:
        """End the engine of a build at once."""
        ...


class ChatPort(Protocol):
    """Answers prompts."""

    def turn(self, request: TurnRequest, stop: asyncio.Event) -> AsyncGenerator[Event]:
        """Route, hold, store, run and commit one turn."""
        ...

    def quote(self, request: TurnRequest) -> Quote:
        """What the turn would reserve. May block; raises ``NanolocalError`` where it would be refused."""
        ...


class VaultPort(Protocol):
    """What opens the vault, and what it has to tell. Every call may block, those with a passphrase for seconds."""

    @property
    def slots(self) -> Sequence[str]:
        """What opens it: some of passphrase, keyfile, keyring and recovery."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What the user has to be told, until ``dismiss_notices``."""
        ...

    def dismiss_notices(self) -> None:
        """The user has seen them."""
        ...

    def check_passphrase(self, passphrase: str | None) -> None:
        """Raise ``VaultLocked`` unless it is the present one."""
        ...

    def change_passphrase(self, new: str | None) -> None:
        """Let ``new`` open the vault from now on; ``None`` goes back to a key file."""
        ...

    def make_recovery_code(self) -> str:
        """A new recovery code, groups joined by dashes; an earlier one opens nothing any more."""
        ...


class BackgroundPort(Protocol):
    """What goes on beside the conversation, one at a time."""

    @property
    def is_running(self) -> bool:
        """Whether one is on its way."""
        ...

    @property
    def line(self) -> str:
        """How it goes, in one line: not yet safe to draw."""
        ...

    def news(self) -> str:
        """How the last one ended, told once: not yet safe to draw."""
        ...


class LabPort(BackgroundPort, Protocol):
    """The compression lab: makes builds smaller."""

    @property
    def report(self) -> Sequence[tuple[str, str]]:
        """The card of what was made last, as names and sentences: not yet safe to draw."""
        ...

    def builds(self) -> Sequence[Build]:
        """Those that can be made smaller. May block on the disk."""
        ...

    def outlook(self, build_id: str) -> Outlook:
        """What that means for a build. Blocks for seconds; raises ``NanolocalError`` where it cannot be."""
        ...

    def start(self, build_id: str, most: int | None = None, *, agreed: bool = False) -> None:
        """Begin, or go on; at most so many bytes, ``agreed`` to the warning there is. Raises ``UsageError``."""
        ...

    def stop(self) -> None:
        """End it and keep what was found out; raises ``UsageError`` where nothing runs."""
        ...

    def picture(self, columns: int, rows: int) -> Sequence[str]:
        """Size against quality of what was measured so far, as lines of text."""
        ...


class PullsPort(BackgroundPort, Protocol):
    """Downloads in the background, one at a time."""

    def start(self, text: str, *, agreed: bool = False) -> None:
        """Begin, ``agreed`` to a licence with conditions. May block; raises ``UsageError`` where it cannot."""
        ...

    def pause(self) -> None:
        """Wait; raises ``UsageError`` where nothing runs."""
        ...

    def resume(self) -> None:
        """Go on; raises ``UsageError`` where nothing runs."""
        ...

    def stop(self) -> None:
        """End it and keep what has arrived; raises ``UsageError`` where nothing runs."""
        ...


class ExperiencePort(Protocol):
    """What this device learns from the use of its builds."""

    def learn(self, message_id: str, kind: str) -> None:
        """Take in a signal about an answer; may block on the disk."""
        ...


class SessionPort(Protocol):
    """Everything behind an unlocked vault."""

    @property
    def settings(self) -> Settings:
        """What the user set."""
        ...

    @property
    def store(self) -> ConversationsPort:
        """The conversations."""
        ...

    @property
    def gallery(self) -> Gallery:
        """The pictures of all conversations."""
        ...

    @property
    def experience(self) -> ExperiencePort:
        """What was seen of the builds."""
        ...

    @property
    def ledger(self) -> WalletPort:
        """The wallet."""
        ...

    @property
    def library(self) -> LibraryPort:
        """The builds."""
        ...

    @property
    def engines(self) -> EnginesPort:
        """The engines."""
        ...

    @property
    def vault(self) -> VaultPort:
        """What opens the vault."""
        ...

    @property
    def chat(self) -> ChatPort:
        """The turn."""
        ...

    @property
    def pulls(self) -> PullsPort:
        """The downloads."""
        ...

    @property
    def lab(self) -> LabPort:
        """The compression lab."""
        ...

    def redeem(self, code: str) -> tuple[int, str]:
        """Add a voucher to the balance; returns its micro-credits and who issued it. Raises ``UsageError``."""
        ...

    def picture_file(self, picture: Attachment) -> bytes:
        """A picture as it leaves the vault: a PNG of pixels alone. Raises ``UsageError`` where it cannot be read."""
        ...

    def check_model(self, name: str) -> None:
        """Raise ``UsageError`` where no prompt could be answered under that name; may block."""
        ...

    def reckon(self, case: Mapping[str, object]) -> tuple[Weighed, ...]:
        """Decide once more from what was stored with an answer; raises ``Damaged`` where that cannot be done."""
        ...

    async def close(self) -> None:
        """End the engines and close the vault."""
        ...


class MachinePort(Protocol):
    """What this machine has, as ``device.machine.inspect`` finds it; memory in bytes."""

    @property
    def processor(self) -> str:
        """Its name."""
        ...

    @property
    def cores(self) -> int:
        """How many this process may use."""
        ...

    @property
    def memory_total(self) -> int:
        """Bytes."""
        ...

    @property
    def accelerators(self) -> tuple[str, ...]:
        """Their names."""
        ...


class VaultStatePort(Protocol):
    """``bootstrap.VaultState``: its name is ABSENT, PASSPHRASE, KEYFILE or KEYRING."""

    @property
    def name(self) -> str:
        """Which state it is."""
        ...
