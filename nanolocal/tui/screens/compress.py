"""The compression lab on screen: which build, which size, and how it goes."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from nanolocal.chat.amounts import sized
from nanolocal.chat.compressing import Offer, Outlook
from nanolocal.chat.routes import Build
from nanolocal.errors import NanolocalError
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import build_row, error_text
from nanolocal.tui.ports import LabPort
from nanolocal.tui.screens.overlay import Confirm, Overlay

_EVERY_S = 0.5
_FEWEST_ROWS, _FRAME = 8, 9
"""Lines of the picture at least, and what else the panel holds."""


class LabBuildsScreen(Overlay[str]):
    """Returns the id of the build that is to be made smaller."""

    TITLE_TEXT = "Make which build smaller?"
    HINT = "Enter shows what that means · Esc leaves it"

    def __init__(self, builds: Sequence[Build]) -> None:
        super().__init__()
        self._builds = list(builds)

    def compose_body(self) -> ComposeResult:
        """A line for each."""
        rows = [
            Option(Content.assemble(f"{safe_line(build.name)}  ", (build_row(build), "$quiet")))
            for build in self._builds
        ]
        yield OptionList(*rows, id="rows", compact=True, markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the choice."""
        self.dismiss(self._builds[event.option_index].id)


class LabOutlookScreen(Overlay[tuple[int, bool]]):
    """What it means for one build; returns the size that was chosen, in bytes, and whether its warning was agreed to.

    A warning is a question of its own.
    """

    HINT = "Enter begins, with that size · Esc leaves it"

    def __init__(self, lab: LabPort, build_id: str) -> None:
        super().__init__()
        self.TITLE_TEXT = safe_line(build_id)
        self._lab = lab
        self._build_id = build_id
        self._offers: Sequence[Offer] = ()
        self._warning = ""

    def compose_body(self) -> ComposeResult:
        """The facts, over the sizes."""
        yield Static("Looking at it…", classes="panel-text quiet", id="outlook", markup=False)
        yield OptionList(id="rows", compact=True, markup=False)

    def on_mount(self) -> None:
        """Find out."""
        self.look()

    @work(group="outlook", exclusive=True, exit_on_error=False)
    async def look(self) -> None:
        """Ask the lab, which takes a few seconds."""
        try:
            found = await asyncio.to_thread(self._lab.outlook, self._build_id)
        except NanolocalError as error:
            self.query_one("#outlook", Static).update(error_text(error))
            return
        self._show(found)

    def _show(self, found: Outlook) -> None:
        facts = [*found.facts, *((("note", found.warning),) if found.warning else ())]
        lines = [Content.assemble((f"{name:<8}", "$quiet"), safe_line(text)) for name, text in facts]
        self.query_one("#outlook", Static).update(Content("\n").join(lines))
        self._offers, self._warning = found.offers, found.warning
        rows = self.query_one(OptionList)
        rows.add_options([Option(_offer_line(offer), disabled=not offer.fits) for offer in found.offers])
        advised = [index for index, offer in enumerate(found.offers) if offer.is_advised]
        rows.highlighted = advised[0] if advised else None
        rows.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the size, once what there is to agree to was agreed to."""
        size = self._offers[event.option_index].size_bytes
        if not self._warning:
            self.dismiss((size, False))
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.dismiss((size, True))

        warning = safe_line(self._warning)
        detail = f"{warning[:1].upper()}{warning[1:]}.\n\nThe extra loss is measured, and told on its card."
        self.app.push_screen(Confirm("Make it smaller all the same?", detail), answered)


class LabScreen(Overlay[None]):
    """How a run goes, what was measured so far, and in the end the card."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "stop", "Stop", id="lab.stop", show=False)]
    TITLE_TEXT = "Making a build smaller"
    HINT = "s stops it · Esc leaves it running"
    _ENDED = "Esc closes"

    def __init__(self, lab: LabPort) -> None:
        super().__init__()
        self._lab = lab
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """Progress, in the end the card, and the picture."""
        yield Static("", classes="panel-text", id="progress", markup=False)
        with VerticalScroll(classes="page"):
            yield Static("", id="card", markup=False)
            yield Static("", id="picture", markup=False)

    def on_mount(self) -> None:
        """Look twice a second."""
        self._look()
        self.set_interval(_EVERY_S, self._look)

    def on_resize(self) -> None:
        """Draw for this size."""
        self._look()

    def action_stop(self) -> None:
        """End the run; what was found out is kept."""
        if self._lab.is_running:
            self._lab.stop()

    def _look(self) -> None:
        page = self.query_one(".page")
        columns, rows = page.scrollable_content_region.width, max(page.size.height - 1, _FEWEST_ROWS)
        is_running = self._lab.is_running
        picture = self._lab.picture(columns, min(rows, self.app.size.height - _FRAME))
        drawn = (is_running, self._lab.line, *picture, *self._lab.report)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        line = safe_line(self._lab.line) if is_running else "It has ended."
        self.query_one("#progress", Static).update(line)
        self.query_one(".panel-hint", Static).update(self.HINT if is_running else self._ENDED)
        self.query_one("#picture", Static).update("\n".join(picture))
        card = [
            Content.assemble((f"{safe_line(name):<11} ", "$quiet"), safe_line(text)) for name, text in self._lab.report
        ]
        self.query_one("#card", Static).update(Content("\n").join([*card, Content("")] if card else []))


def _offer_line(offer: Offer) -> Content:
    remark = "too large" if not offer.fits else "advised" if offer.is_advised else ""
    detail = f"{sized(offer.memory)} in memory, up to {offer.speed:,.0f} tok/s"
    return Content.assemble(
        f"{offer.label:<7} {sized(offer.size_bytes):>7}  ", (f"{remark:<9}  ", "$accent"), (detail, "$quiet")
    )
