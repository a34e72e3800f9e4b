"""The command that makes a build smaller while the conversation goes on."""

import asyncio

from nanolocal.errors import UsageError
from nanolocal.tui.screens.compress import LabBuildsScreen, LabOutlookScreen, LabScreen
from nanolocal.tui.stage import ChatStage


class CompressActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    async def compress(self, args: str) -> None:
        """Show the run there is, else what one would mean for a build; ``stop`` ends it."""
        lab = self._stage.session.lab
        if args == "stop":
            lab.stop()
            self._stage.say("Stopping; what was found out is kept.")
        elif lab.is_running or (lab.report and not args):
            self._stage.app.push_screen(LabScreen(lab))
        elif args:
            self._look_at(args)
        else:
            builds = await asyncio.to_thread(lab.builds)
            if not builds:
                raise UsageError("there is no text build to make smaller", "/pull NAME fetches one.")
            self._stage.app.push_screen(LabBuildsScreen(builds), self._look_at)

    def _look_at(self, build_id: str | None) -> None:
        lab = self._stage.session.lab
        if build_id is None:
            return

        def begin(chosen: tuple[int, bool] | None) -> None:
            if chosen is None:
                return
            most, agreed = chosen
            lab.start(build_id, most, agreed=agreed)
            self._stage.watch_lab()
            self._stage.app.push_screen(LabScreen(lab))

        self._stage.app.push_screen(LabOutlookScreen(lab, build_id), begin)
