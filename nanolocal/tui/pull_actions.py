"""The command that fetches models while the conversation goes on."""

import asyncio

from nanolocal.tui.stage import ChatStage

_AGREE = "agree"


class PullActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    async def pull(self, args: str) -> None:
        """Begin, pause, go on or stop; without words, say how it goes."""
        pulls = self._stage.session.pulls
        steering = {"pause": (pulls.pause, "Paused; /pull resume goes on."), "resume": (pulls.resume, "It goes on."),
                    "stop": (pulls.stop, "Stopping; what has arrived is kept.")}  # fmt: skip
        if args in steering:
            act, says = steering[args]
            act()
            self._stage.say(says)
        elif args:
            name, _, agreed = args.rpartition(" ")
            is_agreed = agreed == _AGREE and bool(name)
            await asyncio.to_thread(pulls.start, name if is_agreed else args, agreed=is_agreed)
            self._stage.watch_pull()
        elif pulls.is_running:
            self._stage.say("/pull pause, /pull resume or /pull stop")
        else:
            self._stage.composer.set_aside()
            self._stage.composer.put("/pull ", self._stage.composer.attachments)
            self._stage.say("A model's name, or OWNER/REPOSITORY:QUANT, such as qwen3:4b.")
