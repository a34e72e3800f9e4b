"""Settings that hold for every build of a pool, where they are what is being measured."""

from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import Tuning


class Settled:
    """Implements ``chat.ports.Tunings``: every build is loaded with ``tuning``, and ``small`` writes ahead."""

    def __init__(self, tuning: Tuning, small: Build | None = None) -> None:
        self._tuning = tuning
        self._small = small

    def of(self, build: Build, n_ctx: int) -> Tuning:
        """As ``Tunings``."""
        return self._tuning

    def may_guess(self, sha256: str, task: str) -> bool:
        """As ``Tunings``."""
        return True

    def step_cache(self, build: Build) -> str:
        """As ``Tunings``."""
        return ""

    def draft(self, build: Build) -> Build | None:
        """As ``Tunings``."""
        return self._small
