"""Files made and measured, one at a time: what a proposal is, and the real file that shows what it is worth."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nanolocal.compress.gate import Measured
from nanolocal.compress.work.remembered import Remembered
from nanolocal.compress.work.tasks import Chunks, Divergence, Measure, Quantize, Round, Source
from nanolocal.library.naming import slug

Metadata = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A file to try: the type of each tensor that does not stay as it is, and how they are rounded.

    It ``is_topped`` where these are those of a stock file, or finer ones.
    """

    name: str
    types: Mapping[str, str]
    is_rounded: bool = False
    is_stock: bool = False
    is_topped: bool = False
    has_importance: bool = True


class Told(Protocol):
    """Hears how far a step is."""

    def __call__(self, share: float, what: str = "") -> None:
        """So much is done, 0 to 1."""
        ...


@dataclass(slots=True)
class Bench:
    """Makes files of ``source`` in ``folder`` and measures them against ``base``; ``statistics`` may be elsewhere.

    ``metadata`` gives what goes into the header of a proposal's file. ``found`` are all that were measured; ``hear`` is
    told of each.
    """

    runner: Remembered
    source: Source
    folder: Path
    held_out: Chunks
    base: str
    statistics: str
    metadata: Callable[[Proposal], Metadata]
    hear: Callable[[Measured], None]
    found: list[Measured] = field(default_factory=list)
    figures: dict[str, Divergence] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)

    async def try_out(self, proposal: Proposal, tell: Told) -> Measured:
        """Make and measure the file of ``proposal``; files that have lost already are removed again."""
        path = self.path_of(proposal)
        known = next((each for each in self.found if each.path == str(path)), None)
        if known is not None:
            return known
        measure = Measure(str(path), self.base, self.held_out, f"{path}.npy")
        if not self.runner.knows(measure):
            await self.make(proposal, lambda share: tell(0.5 * share, f"writing {proposal.name}"))
        figures = await self.runner.run(measure, lambda share: tell(0.5 + 0.5 * share, f"measuring {proposal.name}"))
        assert isinstance(figures, Divergence)
        measured = Measured(
            name=proposal.name,
            path=str(path),
            size_bytes=figures.file_bytes,
            kld=figures.mean,
            error=figures.error,
            scores=measure.out,
            is_stock=proposal.is_stock,
            is_topped=proposal.is_topped,
            speed=figures.write_per_s,
            memory=figures.peak_bytes,
        )
        self.found.append(measured)
        self.figures[measured.path], self.proposals[measured.path] = figures, proposal
        self.hear(measured)
        self._tidy()
        return measured

    async def make(self, proposal: Proposal, tell: Callable[[float], None]) -> Path:
        """The file of ``proposal``, made where it is not there."""
        path = self.path_of(proposal)
        types, metadata = dict(proposal.types), self.metadata(proposal)
        if proposal.is_rounded:
            await self.runner.run(Round(self.source, str(path), types, self.statistics, metadata), tell)
        else:
            imatrix = self.statistics if proposal.has_importance else None
            await self.runner.run(Quantize(self.source, str(path), types, imatrix, metadata=metadata), tell)
        return path

    def path_of(self, proposal: Proposal) -> Path:
        """Where its file is, or would be."""
        facts = [dict(proposal.types), proposal.is_rounded, proposal.has_importance, self.metadata(proposal)]
        told = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{slug(proposal.name)}-{told}.gguf"

    def _tidy(self) -> None:
        """Keep the best stock file and the best other one of those that are there."""
        for is_stock in (True, False):
            kept = sorted((each for each in self.found if each.is_stock is is_stock), key=lambda each: each.kld)
            for each in kept[1:]:
                Path(each.path).unlink(missing_ok=True)
