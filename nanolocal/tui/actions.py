"""What each command of the table does. One method a command; the chat screen dispatches to them by name."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from nanolocal.chat.commands import find
from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line
from nanolocal.tui import attach, clipboard, pages
from nanolocal.tui.choice_actions import ChoiceActions
from nanolocal.tui.compress_actions import CompressActions
from nanolocal.tui.credit_actions import CreditActions
from nanolocal.tui.learning import learn
from nanolocal.tui.newfile import write_new
from nanolocal.tui.picture_actions import PictureActions
from nanolocal.tui.pull_actions import PullActions
from nanolocal.tui.runner import Asked
from nanolocal.tui.screens.chats import ChatsScreen, Choice
from nanolocal.tui.screens.overlay import Page
from nanolocal.tui.stage import ChatStage
from nanolocal.tui.vault_actions import VaultActions


class Actions:
    """The commands, acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage
        kept, paid, pulled = VaultActions(stage), CreditActions(stage), PullActions(stage)
        self.choosing = choosing = ChoiceActions(stage)
        self.pictured = pictured = PictureActions(stage)
        self._idle_only = {"new", "chats", "image", "regenerate", "compare", "edit", "good", "bad"}
        self._table: dict[str, Callable[[str], Awaitable[None]]] = {
            "new": self._new,
            "chats": self._chats,
            "model": choosing.model,
            "auto": choosing.auto,
            "once": choosing.once,
            "compare": choosing.compare,
            "pull": pulled.pull,
            "compress": CompressActions(stage).compress,
            "image": self._image,
            "pictures": pictured.pictures,
            "why": choosing.why,
            "regenerate": self._regenerate,
            "edit": self._edit,
            "copy": self._copy,
            "good": kept.good,
            "bad": kept.bad,
            "instructions": kept.instructions,
            "credits": paid.credits,
            "receipt": paid.receipt,
            "topup": paid.topup,
            "redeem": paid.redeem,
            "budget": paid.budget,
            "save": self._save,
            "attach": self._attach,
            "theme": self._theme,
            "passphrase": kept.passphrase,
            "recovery": kept.recovery,
            "lock": self._lock,
            "help": self._help,
            "quit": self._quit,
        }

    async def run(self, name: str, args: str) -> None:
        """Do what ``/name args`` asks; raises ``UsageError`` where it cannot be done."""
        command, action = find(name), self._table.get(name)
        if command is None or action is None:
            raise UsageError(f"there is no command /{name}", "/help lists them all.")
        if name in self._idle_only and self._stage.runner.busy:
            raise UsageError("an answer is being written", "Esc stops it and keeps the text.")
        if command.needs_args and not args:
            self._stage.composer.set_aside()
            self._stage.composer.put(f"/{name} ", self._stage.composer.attachments)
            return
        await action(args)

    async def _new(self, args: str) -> None:
        await self._stage.open_chat(None)

    async def _chats(self, args: str) -> None:
        self._stage.app.push_screen(ChatsScreen(self._stage.session.store), self._chosen)

    async def _chosen(self, choice: Choice | None) -> None:
        if choice is None:
            return
        if choice.chat_id is not None:
            await self._stage.open_chat(choice.chat_id, choice.message_id)
        elif self._stage.conversation.chat_id in choice.deleted:
            await self._stage.open_chat(None)

    async def _image(self, args: str) -> None:
        await self._stage.send(args, wants_picture=True)

    async def _regenerate(self, args: str) -> None:
        conversation = self._stage.conversation
        request, last = conversation.again_request(), conversation.last
        if request is None or last is None:
            raise UsageError("there is no prompt to answer again", "Send one first.")
        message = last.prompt.message
        self._stage.start(Asked(request, message.text, message.attachments, replaces=True))

    async def _edit(self, args: str) -> None:
        last = self._stage.conversation.last
        if last is None:
            raise UsageError("there is no prompt to change", "Send one first.")
        self._stage.conversation.editing = last.prompt
        message = last.prompt.message
        self._stage.composer.put(message.text, message.attachments)
        self._stage.composer.show_editing(True)

    async def _copy(self, args: str) -> None:
        text = self._stage.last_text()
        if not text:
            raise UsageError("there is no answer to copy", "Ask something first.")
        await self.copy_text(text)
        await self._learn_copied()

    async def _learn_copied(self) -> None:
        last = self._stage.conversation.last
        if last is not None and last.answer is not None and not self._stage.runner.busy:
            await learn(self._stage.session.experience, {last.answer.id: "copied"})

    async def copy_text(self, text: str) -> None:
        """Copy by the system's program, else ask the terminal; say which."""
        if await asyncio.to_thread(clipboard.copy_by_program, text):
            self._stage.say("Copied.")
        else:
            self._stage.app.copy_to_clipboard(text)
            self._stage.say("Handed to the terminal to copy; not every terminal takes it.")

    async def _save(self, args: str) -> None:
        last = self._stage.conversation.last
        if last is None or last.answer is None:
            raise UsageError("there is no answer to save", "Ask something first.")
        message = last.answer.message
        pictures = [item for item in message.attachments if item.media_type.startswith("image/")]
        if not args:
            suggestion = "picture.png" if pictures else "answer.md"
            self._stage.composer.put(f"/save {suggestion}", self._stage.composer.attachments)
            self._stage.say("Enter writes this file, unencrypted.")
            return
        path = Path(args).expanduser()
        leaving = self._stage.session.picture_file
        contents = [await asyncio.to_thread(leaving, each) for each in pictures] or [message.text.encode()]
        for number, content in enumerate(contents, 1):
            name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            await asyncio.to_thread(write_new, name, content)
        others = f" and {len(pictures) - 1} more" if len(pictures) > 1 else ""
        self._stage.say(f"Saved {safe_line(str(path))}{others}, unencrypted.")
        await self._learn_copied()

    async def _attach(self, args: str) -> None:
        self._stage.composer.attach(await asyncio.to_thread(attach.read, Path(args.strip("\"'"))))

    async def _theme(self, args: str) -> None:
        self._stage.switch_theme()

    async def _lock(self, args: str) -> None:
        self._stage.leave("lock")

    async def _help(self, args: str) -> None:
        self._stage.app.push_screen(Page("Help", pages.help_page()))

    async def _quit(self, args: str) -> None:
        self._stage.leave("")
