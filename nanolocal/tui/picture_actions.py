"""The commands about pictures: the gallery, and what is wanted of one."""

import asyncio
import secrets
from dataclasses import replace

from nanolocal.chat.messages import Attachment
from nanolocal.chat.redrawing import Redrawing
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import error_text
from nanolocal.tui.picture_tools import PictureTools
from nanolocal.tui.privatefiles import PrivateFiles
from nanolocal.tui.redrawing import again, enlarged, varied
from nanolocal.tui.runner import Asked
from nanolocal.tui.screens.gallery import GalleryScreen
from nanolocal.tui.screens.pictures import Wanted
from nanolocal.tui.stage import ChatStage

_SEEDS = 2**31


class PictureActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage
        self._files = PrivateFiles()

    def close(self) -> None:
        """Remove the files that another program was to show."""
        self._files.clear()

    async def pictures(self, words: str) -> None:
        """Show all pictures, or those of prompts with these words."""
        gallery = self._stage.session.gallery
        tools = PictureTools(gallery, self._files, self._stage.session.picture_file)

        async def closed(wanted: Wanted | None) -> None:
            await self._closed(wanted, tools)

        self._stage.app.push_screen(GalleryScreen(gallery, tools, words), closed)

    async def _closed(self, wanted: Wanted | None, tools: PictureTools) -> None:
        try:
            await self._show_erased(tools.changed)
            if wanted is not None:
                await self._take(wanted, tools)
        except NanolocalError as error:
            await self._stage.transcript.show_notice(error_text(error))

    async def _show_erased(self, changed: set[str]) -> None:
        """Show the conversation anew where it has lost a picture."""
        conversation = self._stage.conversation
        if conversation.chat_id not in changed or self._stage.runner.busy:
            return
        tip = conversation.path[-1].id if conversation.path else None
        conversation.goes_to(await asyncio.to_thread(self._stage.session.store.path, conversation.chat_id, tip))
        await self._stage.transcript.show(conversation.turns)

    async def _take(self, wanted: Wanted, tools: PictureTools) -> None:
        picture = wanted.picture
        if wanted.what == "use":
            self._use(await asyncio.to_thread(tools.attachment, picture))
            return
        if self._stage.runner.busy:
            raise UsageError("an answer is being written", "Esc stops it and keeps the text.")
        session, seed = self._stage.session, secrets.randbelow(_SEEDS)
        match wanted.what:
            case "chat":
                await self._stage.open_chat(picture.chat_id, picture.message_id)
            case "again":
                await self._draw(await asyncio.to_thread(again, session, picture, seed))
            case "vary" if picture.made_here or picture.receipt is not None:
                file = await asyncio.to_thread(tools.attachment, picture)
                await self._draw(await asyncio.to_thread(varied, session, picture, file, seed))
            case "enlarge":
                file = await asyncio.to_thread(tools.attachment, picture)
                await self._draw(await asyncio.to_thread(enlarged, session, picture, file, seed))
            case "vary":
                self._stage.composer.put("/image ", (await asyncio.to_thread(tools.attachment, picture),))
                self._stage.say("Write what it should become.")

    def _use(self, attachment: Attachment) -> None:
        self._stage.composer.attach(attachment)
        self._stage.composer.box.focus()
        self._stage.say("It goes with the next prompt; /image draws from it.")

    async def _draw(self, redrawing: Redrawing) -> None:
        """Draw in the conversation on the screen."""
        asked = redrawing.request
        prompt, files = asked.prompt or "", asked.attachments
        request = self._stage.conversation.next_request(prompt, files, wants_picture=True)
        wishes = replace(asked.wishes, prefer=request.wishes.prefer)
        self._stage.start(Asked(replace(request, wishes=wishes), prompt, files))
        if redrawing.notes:
            self._stage.tell(" ".join(f"{safe_line(note)}." for note in redrawing.notes))
