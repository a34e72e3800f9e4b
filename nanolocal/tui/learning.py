"""What the user does with answers, handed to what this device learns from."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from nanolocal.errors import NanolocalError
from nanolocal.tui.ports import ExperiencePort


async def learn(experience: ExperiencePort, signals: Mapping[str, str]) -> None:
    """Keep signals by message id; a vault that cannot take them is no reason to disturb anybody."""
    with suppress(NanolocalError):
        for message_id, kind in signals.items():
            await asyncio.to_thread(experience.learn, message_id, kind)
