"""Where prompts are written: the box, the files that go along, and the list of what a ``/`` or ``@`` may become."""

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static, TextArea
from textual.widgets.option_list import Option

from nanolocal.chat.commands import matching, parse
from nanolocal.chat.messages import Attachment
from nanolocal.safetext import safe_line
from nanolocal.tui import attach
from nanolocal.tui.lines import token

_MENU_KEYS = ("up", "down", "tab", "enter")
_PLACEHOLDER = "Ask anything · Ctrl+J new line · / commands · F1 help"
_EDITING = "Change the prompt · Enter keeps both versions · Esc leaves it"


class PromptBox(TextArea):
    """Enter sends; Ctrl+J, Shift+Enter or a backslash before Enter start a new line."""

    class Submitted(Message):
        """The prompt is ready."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Scrolled(Message):
        """Home or End was pressed in an empty box."""

        def __init__(self, to_end: bool) -> None:
            super().__init__()
            self.to_end = to_end

    class EmptyBackspace(Message):
        """Backspace was pressed in an empty box."""

    def __init__(self, take_key: Callable[[str], bool]) -> None:
        super().__init__(id="prompt", compact=True, highlight_cursor_line=False, placeholder=_PLACEHOLDER)
        self._take_key = take_key

    async def on_key(self, event: events.Key) -> None:
        """Take the keys that mean something else here than in an editor."""
        if self._handled(event.key):
            event.stop()
            event.prevent_default()

    def _handled(self, key: str) -> bool:
        if key in _MENU_KEYS and self._take_key(key):
            return True
        if key in ("ctrl+j", "shift+enter"):
            self.insert("\n")
        elif key == "enter":
            self._submit()
        elif key in ("home", "end") and not self.text:
            self.post_message(self.Scrolled(key == "end"))
        elif key == "backspace" and not self.text:
            self.post_message(self.EmptyBackspace())
        else:
            return False
        return True

    def _submit(self) -> None:
        row, column = self.cursor_location
        if self.document.get_line(row)[:column].endswith("\\"):
            self.replace("\n", (row, column - 1), (row, column))
        else:
            self.post_message(self.Submitted(self.text))


class Composer(Vertical):
    """The prompt box with its menu and its files."""

    class Sent(Message):
        """A prompt or a command was entered."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Edited(Message):
        """What would be sent is another now."""

    def __init__(self) -> None:
        super().__init__(id="composer")
        self._attachments: tuple[Attachment, ...] = ()
        self._aside = ""
        self._taken = ""
        self._chosen_from: list[str] = []
        self._listed_for = ""

    def compose(self) -> ComposeResult:
        """Lay out menu, files and box."""
        menu = OptionList(id="menu", compact=True, markup=False)
        menu.can_focus = False
        menu.display = False
        yield menu
        files = Static("", id="attached", markup=False)
        files.display = False
        yield files
        yield PromptBox(self._take_key)

    @property
    def box(self) -> PromptBox:
        """The text area."""
        return self.query_one(PromptBox)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files that go with the next prompt."""
        return self._attachments

    @property
    def menu(self) -> OptionList:
        """The list above the box."""
        return self.query_one("#menu", OptionList)

    def put(self, text: str, attachments: tuple[Attachment, ...] = ()) -> None:
        """Fill the box, replacing what was in it."""
        self.box.load_text(text)
        self.box.move_cursor(self.box.document.end)
        self.attach(*attachments, keep=False)
        self.box.focus()

    def take(self, sent: str, attachments: tuple[Attachment, ...] = ()) -> None:
        """Leave in the box only what was typed after ``sent``."""
        self._taken = sent
        self.put(self.box.text.removeprefix(sent), attachments)

    def left_of(self, sent: str) -> str:
        """``sent`` without the prompt before it, where that was still in the box when Enter was pressed again."""
        rest = sent.removeprefix(self._taken)
        is_in_box = self.box.text.startswith(sent)
        return rest if not is_in_box and self.box.text.startswith(rest) else sent

    def suggest(self, text: str) -> None:
        """Fill the box with what the first key that is typed replaces."""
        self.put(text)
        self.box.select_all()

    def set_aside(self) -> None:
        """Remember what is typed, because a command takes its place."""
        self._aside = self.box.text or self._aside

    def put_back(self, over_command: bool = False) -> bool:
        """Fill an empty box with what was set aside, ``over_command`` one with a command; whether there was any."""
        is_free = not self.box.text or (over_command and parse(self.box.text) is not None)
        if not self._aside or not is_free:
            return False
        self.put(self._aside, self._attachments)
        self._aside = ""
        return True

    def forget(self, sent: str) -> None:
        """What is ``sent`` is not set aside any more; nor is what it was sent instead of, unless it is a command."""
        if sent == self._aside or parse(sent) is None:
            self._aside = ""

    def attach(self, *attachments: Attachment, keep: bool = True) -> None:
        """Add files to the next prompt, or replace them."""
        self._attachments = (self._attachments if keep else ()) + attachments
        shown = self.query_one("#attached", Static)
        shown.update(" ".join(token(attachment) for attachment in self._attachments))
        shown.display = bool(self._attachments)
        self.post_message(self.Edited())

    def show_editing(self, editing: bool) -> None:
        """Say that the prompt is another version of the last one."""
        self.set_class(editing, "editing")
        self.box.placeholder = _EDITING if editing else _PLACEHOLDER

    def close_menu(self) -> bool:
        """Close the list; ``False`` when none was open."""
        was_open = self.menu.display
        self.menu.display = False
        return bool(was_open)

    def on_text_area_changed(self) -> None:
        """Show what the word at the cursor may become."""
        self._list_choices()
        self.post_message(self.Edited())

    def _list_choices(self) -> None:
        self._listed_for = self.box.text
        rows = self._suggestions()
        self._chosen_from = [value for value, _ in rows]
        self.menu.display = bool(rows)
        if rows:
            self.menu.set_options([Option(content) for _, content in rows])
            self.menu.highlighted = 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take what was clicked."""
        event.stop()
        self._accept(event.option_index)
        self.box.focus()

    def on_prompt_box_submitted(self, event: PromptBox.Submitted) -> None:
        """Hand the text on; the screen takes it out of the box."""
        event.stop()
        self.close_menu()
        self.post_message(self.Sent(event.text))

    def on_prompt_box_empty_backspace(self, event: PromptBox.EmptyBackspace) -> None:
        """Take the last file off."""
        event.stop()
        self.attach(*self._attachments[:-1], keep=False)

    def _take_key(self, key: str) -> bool:
        """Move in the menu or take its row; ``False`` leaves the key to the box."""
        menu = self.menu
        if self.box.text != self._listed_for:  # a key that came faster than the list was made anew
            self._list_choices()
        if not menu.display:
            return False
        if key == "up":
            menu.action_cursor_up()
        elif key == "down":
            menu.action_cursor_down()
        elif key == "enter" and self.box.text.strip() in self._chosen_from:
            return False
        else:
            self._accept(menu.highlighted or 0, and_run=key == "enter")
        return True

    def _accept(self, index: int, and_run: bool = False) -> None:
        """Put a row of the menu into the box; a command that needs nothing more runs at once."""
        value = self._chosen_from[index]
        if value.startswith("@"):
            self._complete_path(value)
            return
        complete = not next(iter(matching(value))).args
        self.box.load_text(value if complete else f"{value} ")
        self.box.move_cursor(self.box.document.end)
        if complete and and_run:
            self.box.post_message(PromptBox.Submitted(value))

    def _complete_path(self, word: str) -> None:
        row, column = self.box.cursor_location
        start = column - len(self._word())
        self.box.replace(word, (row, start), (row, column))

    def _word(self) -> str:
        row, column = self.box.cursor_location
        before = self.box.document.get_line(row)[:column]
        return before[len(before.rstrip()) :] if before != before.rstrip() else before.split(" ")[-1]

    def _suggestions(self) -> list[tuple[str, Content]]:
        text = self.box.text
        if text.startswith("/") and " " not in text and "\n" not in text:
            return [(f"/{found.name}", _command_row(found.usage, found.help)) for found in matching(text)]
        word = self._word()
        if len(word) > 1 and word.startswith("@"):
            found_paths = [path for path in attach.complete(word[1:]) if path != word[1:]]
            return [(f"@{path}", Content(safe_line(path))) for path in found_paths]
        return []


def _command_row(usage: str, explanation: str) -> Content:
    return Content.assemble((f"{usage:<20} ", "bold"), (explanation, "$quiet"))
