"""What was tried for one answer before it could be given, and what may be tried next.

A failure makes way for the next build. Nothing of this is charged, and the answer says it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from nanolocal.chat.routes import Route
from nanolocal.errors import EngineFailed, NoBuildFits

MOST_TRIES = 3


@dataclass(slots=True)
class Tried:
    """The failures so far: ``builds`` that do not come again, by id, with the reason."""

    builds: dict[str, str] = field(default_factory=dict)
    _count: int = 0
    _error: EngineFailed | None = None
    _words: list[str] = field(default_factory=list)

    def may_go_on(self, route: Route, error: EngineFailed) -> bool:
        """Take in that ``route`` failed before it delivered anything; whether something else may be tried."""
        self._count += 1
        self._error = error
        if self._count >= MOST_TRIES or route.is_pinned:
            return False
        self.builds[route.build.id] = error.message
        self._words.append(f"{route.build.id} could not answer ({error.message}), so another build does")
        return True

    def route(self, pick: Callable[[], Route]) -> Route:
        """The next decision; raises what the last build failed with where there is no other."""
        try:
            return pick()
        except NoBuildFits:
            if self._error is not None:
                raise self._error from None
            raise

    def remarks(self) -> list[str]:
        """What happened, in sentences."""
        return list(self._words)
