"""What deleting builds would do to the choice: for each task, who answers today and who would answer then."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from nanolocal.chat.messages import Wishes
from nanolocal.chat.ports import Router, RouteRequest
from nanolocal.chat.routes import Build, Task
from nanolocal.errors import NanolocalError

PROBES: Mapping[Task, str] = {
    Task.CHAT: "Hello, how are you?",
    Task.WRITING: "Write a story about a fox.",
    Task.SUMMARIZE: "Summarize this text.",
    Task.CODE: "Write a function in Python that sorts a list.",
    Task.MATH: "What is 12 * 7?",
    Task.TRANSLATE: "Translate this into German.",
    Task.EXTRACT: "Extract every name from the text.",
    Task.DATA: "Turn this table into CSV: name, age",
    Task.ROLEPLAY: "Pretend to be a pirate.",
    Task.IMAGE_GEN: "Draw a red circle.",
}
"""A short prompt for every task that the router tells apart."""


@dataclass(frozen=True, slots=True)
class Change:
    """For these tasks ``after`` answers instead; ``None`` where nothing can."""

    tasks: tuple[str, ...]
    after: str | None


class Deletions:
    """Compares the picks of ``router_over`` some builds with those over all ``builds``."""

    def __init__(self, builds: Sequence[Build], router_over: Callable[[Sequence[Build]], Router]) -> None:
        self._builds = builds
        self._router_over = router_over
        self.picks = self._picked(builds, PROBES)

    def without(self, ids: Collection[str]) -> tuple[Change, ...]:
        """What changes when these builds are gone: nothing where they are never picked."""
        touched = [task for task, picked in self.picks.items() if picked in ids]
        if not touched:
            return ()
        after = self._picked([build for build in self._builds if build.id not in ids], touched)
        heirs = dict.fromkeys(after[task] for task in touched)
        return tuple(Change(tuple(task for task in touched if after[task] == heir), heir) for heir in heirs)

    def _picked(self, builds: Sequence[Build], tasks: Collection[Task]) -> dict[Task, str | None]:
        router = self._router_over(builds)
        return {task: _pick(router, PROBES[task]) for task in tasks}


def _pick(router: Router, prompt: str) -> str | None:
    try:
        return router.pick(RouteRequest(prompt, (), 0, Wishes())).build.id
    except NanolocalError:
        return None
