"""The choice of who answers this conversation."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from nanolocal.chat.ports import EngineStatus
from nanolocal.chat.routes import Build
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import build_row, engine_row
from nanolocal.tui.ports import ProblemPort
from nanolocal.tui.screens.overlay import Overlay

AUTO = ""
"""The result that lets nanolocal choose."""


class ModelsScreen(Overlay[str]):
    """Returns a build's id, ``AUTO``, or nothing where it was left."""

    TITLE_TEXT = "Who answers this conversation"
    HINT = "Enter chooses · Esc leaves it"

    def __init__(
        self,
        builds: Sequence[Build],
        problems: Sequence[ProblemPort],
        engines: Sequence[EngineStatus],
        current: str | None,
    ) -> None:
        super().__init__()
        self._builds = list(builds)
        self._problems = [safe_line(f"{problem.path.name}: {problem.reason}") for problem in problems]
        self._resident = {engine.build_id: engine_row(engine) for engine in engines}
        self._current = current

    def compose_body(self) -> ComposeResult:
        """Auto, then the builds, then what could not be used."""
        options = [Option(self._line("auto", "nanolocal chooses for each prompt", self._current is None))]
        for build in self._builds:
            detail = " · ".join(filter(None, (build_row(build), self._resident.get(build.id))))
            options.append(Option(self._line(safe_line(build.name), detail, self._current == build.id)))
        yield OptionList(*options, id="rows", compact=True, markup=False)
        if self._problems:
            unusable = "\n".join(["", "Not usable:", *self._problems])
            yield Static(unusable, classes="panel-text quiet", markup=False)

    def on_mount(self) -> None:
        """Start at the present choice."""
        ids = [build.id for build in self._builds]
        self.query_one(OptionList).highlighted = ids.index(self._current) + 1 if self._current in ids else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the choice."""
        place = event.option_index
        self.dismiss(self._builds[place - 1].id if place else AUTO)

    def _line(self, name: str, detail: str, chosen: bool) -> Content:
        mark = "● " if chosen else "  "
        return Content.assemble((mark, "$accent"), f"{name}  ", (detail, "$quiet"))
