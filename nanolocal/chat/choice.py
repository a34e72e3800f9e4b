"""Who chooses the build that answers: nanolocal and to whose liking, or the user for a conversation or for a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import UsageError

PREFERENCES = ("quality", "balanced", "fast", "cheap")
"""What the router can weigh most."""
AUTO_WORDS = (*PREFERENCES, "off", "ask")
"""What ``/auto`` takes."""
_AUTO = "auto"


@dataclass(slots=True)
class Choice:
    """``pinned`` holds for the conversation, ``once`` for the next prompt, everything else for the session.

    Both are names as the router takes them. ``stays`` keeps the build that answered ``last``, ``asks`` shows the pick
    before it runs, and ``is_switched`` says that the user named a build since that answer.
    """

    pinned: str | None = None
    once: str | None = None
    prefer: str | None = None
    stays: bool = False
    asks: bool = False
    last: str | None = None
    is_switched: bool = False

    def name(self, *, for_picture: bool = False) -> str | None:
        """What goes with the next prompt; who answered last in words is nobody to stay with for a picture."""
        return self.once or self.pinned or (self.last if self.stays and not for_picture else None)

    @property
    def build_id(self) -> str | None:
        """The same where it is a build's, not one such as ``auto:cheap``."""
        name = self.name()
        return None if _is_auto(name) else name

    @property
    def word(self) -> str:
        """Who chooses, in a word or two."""
        name = self.once or self.pinned
        if name is not None and not _is_auto(name):
            return "once" if self.once else "pinned"
        if name is not None:
            return name
        if self.stays:
            return f"{_AUTO} off"
        return f"{_AUTO} {self.prefer}" if self.prefer else _AUTO

    def pin(self, name: str) -> None:
        """Let ``name`` answer this conversation."""
        self.pinned, self.is_switched = name, True

    def name_once(self, name: str) -> None:
        """Let ``name`` answer the next prompt."""
        self.once, self.is_switched = name, True

    def take(self, word: str) -> str:
        """Let nanolocal choose again, as ``/auto WORD`` asks; returns what holds now. Raises ``UsageError``."""
        word = word.lower()
        if word and word not in AUTO_WORDS:
            raise UsageError(f"/auto takes no {word!r}", f"It takes {', '.join(AUTO_WORDS)}, or nothing.")
        if word == "ask":
            self.asks = not self.asks
            return "Who answers is shown before it runs." if self.asks else "Prompts run at once."
        self.pinned = self.once = None
        self.stays = word == "off"
        self.prefer = word if word in PREFERENCES else None
        if self.stays:
            return "Whoever answered last goes on answering; /auto chooses again."
        return f"nanolocal chooses, preferring {word}." if word else "nanolocal chooses."

    def answered(self, build: Build) -> None:
        """Take in who answered; what draws pictures is nothing to stay with."""
        self.is_switched = False
        if build.kind is Kind.TEXT:
            self.last = build.id

    def elsewhere(self, *, keeps_pin: bool) -> "Choice":
        """The choice for another conversation."""
        return replace(self, pinned=self.pinned if keeps_pin else None, once=None, is_switched=False)


def meant(typed: str, builds: Sequence[Build]) -> str | None:
    """The one build: by its id, as another program calls it, or by a part that only it has.

    ``None`` where none is; raises ``UsageError`` where several are.
    """
    found = [build for build in builds if typed == build.id] or [build for build in builds if build.answers_to(typed)]
    found = found or [build for build in builds if typed.lower() in build.id.lower()]
    if len(found) > 1:
        raise UsageError(f"{typed} fits {len(found)} builds", ", ".join(build.id for build in found))
    return found[0].id if found else None


def _is_auto(name: str | None) -> bool:
    return name is None or name.partition(":")[0].partition("-")[0] == _AUTO
