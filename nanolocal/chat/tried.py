"""What was tried for one answer before it could be given, and what may be tried next.

A build that has no memory for its context is tried once more with half of it; any other failure makes way for the next
build. Nothing of this is charged, and the answer says it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nanolocal.chat.routes import Route
from nanolocal.errors import EngineFailed, NoBuildFits, OutOfMemory

MOST_TRIES = 3
_LEAST_CONTEXT = 2048


@dataclass(slots=True)
class Tried:
    """The failures so far: ``builds`` that do not come again, by id, with the reason."""

    builds: dict[str, str] = field(default_factory=dict)
    _count: int = 0
    _error: EngineFailed | None = None
    _shorter: Route | None = None
    _words: list[str] = field(default_factory=list)

    def may_go_on(self, route: Route, error: EngineFailed) -> bool:
        """Take in that ``route`` failed before it delivered anything; whether something else may be tried."""
        self._count += 1
        self._error = error
        if self._count >= MOST_TRIES:
            return False
        if isinstance(error, OutOfMemory) and route.n_ctx >= 2 * _LEAST_CONTEXT:
            self._shorter = replace(route, n_ctx=route.n_ctx // 2)
            self._words.append(
                f"there was no memory for a context of {route.n_ctx:,} tokens, so it has {route.n_ctx // 2:,}"
            )
            return True
        if route.is_pinned:
            return False
        self.builds[route.build.id] = error.message
        self._words.append(f"{route.build.id} could not answer ({error.message}), so another build does")
        return True

    def route(self, pick: Callable[[], Route]) -> Route:
        """The next decision; raises what the last build failed with where there is no other."""
        if self._shorter is not None:
            route, self._shorter = self._shorter, None
            return route
        try:
            return pick()
        except NoBuildFits:
            if self._error is not None:
                raise self._error from None
            raise

    def remarks(self) -> list[str]:
        """What happened, in sentences."""
        return list(self._words)
