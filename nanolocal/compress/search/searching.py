"""The search for a file that meets every wish: sizes are tried until the real file keeps to them, or none can."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from nanolocal.chat.amounts import sized
from nanolocal.compress.asking import Prepared
from nanolocal.compress.gate import Measured, Verdict, decide
from nanolocal.compress.measuring.calibrating import Material
from nanolocal.compress.measuring.measure import difference, read_tokens
from nanolocal.compress.plan import Plan, asked_for, header_of_source
from nanolocal.compress.progress import Course
from nanolocal.compress.recipe import Recipe
from nanolocal.compress.repeating import proposal_of
from nanolocal.compress.search.bench import Bench, Proposal
from nanolocal.compress.search.choosing import LONGEST_NAME, Limits, fullest, proposals, stock_files, topped
from nanolocal.compress.targets import Wish
from nanolocal.compress.weights.encodings import NAMES
from nanolocal.compress.weights.header import WRITTEN_BESIDE, added_bytes
from nanolocal.errors import NoBuildFits, UsageError

_ROUNDS = 6
_CLOSE = 0.02
"""A size is searched no finer than to this share of it."""
_MARGIN = 0.97
"""Of the bytes that may be read for a token, as the figures of two measurements differ."""


@dataclass(slots=True)
class Search:
    """Tries files on ``bench`` within the plan until one meets the wish."""

    prepared: Prepared
    material: Material
    bench: Bench
    was_ended: bool = False

    @property
    def wish(self) -> Wish:
        """What is asked for."""
        return self.prepared.ask.wish

    @property
    def plan(self) -> Plan:
        """What was planned."""
        return self.prepared.plan

    @property
    def tier(self) -> str:
        """How deep it went."""
        return str(self.material.depth.tier)

    async def verdict(self, course: Course, deadline: float) -> Verdict:
        """The file that is kept; raises ``UsageError`` or ``NoBuildFits`` with the nearest where no file will do."""
        if (recipe := self.prepared.ask.recipe) is not None:
            return await self._again(recipe, course)
        if self.plan.is_free:
            return await self._smallest(course, deadline)
        limits = self._limits(self.plan.most)
        found = await self._within(limits, course, deadline)
        found = await self._quick_enough(found, limits, course, deadline)
        return self._good_enough(found)

    def left(self, verdict: Verdict) -> str:
        """Why the file takes less than the size that was asked for; nothing where it takes that."""
        if self.wish.size is None or self.prepared.ask.recipe is not None:
            return ""
        if self.plan.why != asked_for(self.wish.size):
            return self.plan.why
        winner = self.bench.proposals[verdict.winner.path]
        if self._limits(self.plan.most).are_used(self.prepared.layout, winner.types):
            return ""
        speed, larger = (
            self.wish.min_speed,
            [each for each in self.bench.found if each.size_bytes > verdict.winner.size_bytes],
        )
        if speed is not None and any(each.speed < speed for each in larger):
            return f"larger files write fewer than {speed:g} tokens a second here"
        return "files that use more of what was asked for were measured, and are no better"

    async def _again(self, recipe: Recipe, course: Course) -> Verdict:
        """The file of a recipe, whatever it is worth, next to the stock file of its size."""
        limits = Limits(self.plan.most, self.plan.bare, self.plan.context)
        beside = next(
            (each for each in self.prepared.ladder if limits.hold(self.prepared.layout, each.types)),
            self.prepared.ladder[-1],
        )
        stock = Proposal(f"{beside.label} with importance", beside.types, is_stock=True)
        course.begin("try 1", f"trying {stock.name}")
        reference = await self.bench.try_out(stock, course.tell)
        course.begin("try 2", f"making {self.plan.why}")
        made = await self.bench.try_out(proposal_of(recipe), course.tell)
        return Verdict(made, reference, _difference(made, reference))

    def _limits(self, most: int) -> Limits:
        return Limits(most, self._header(), self.plan.context, self.plan.memory, self.plan.weights)

    def _header(self) -> int:
        """Bytes of the header of any file that is tried: what the source says, and the longest recipe."""
        types = {tensor.name: max(NAMES.values(), key=len) for tensor in self.prepared.layout.tensors}
        told = added_bytes(self.bench.metadata(Proposal(" " * LONGEST_NAME, types, is_rounded=True)))
        return header_of_source(self.prepared.layout) + WRITTEN_BESIDE + told

    async def _within(self, limits: Limits, course: Course, deadline: float) -> Verdict:
        """The best file within ``limits``: stock always, topped up too, then as many proposals as there is time for."""
        layout, ladder, depth = self.prepared.layout, self.prepared.ladder, self.material.depth
        tried: list[Measured] = []
        counted: Counter[bool] = Counter()

        async def attempt(proposal: Proposal) -> Measured:
            counted[proposal.is_rounded] += 1
            kind = "rounding" if proposal.is_rounded else "try"
            course.begin(f"{kind} {counted[proposal.is_rounded]}", f"trying {proposal.name}")
            tried.append(await self.bench.try_out(proposal, course.tell))
            return tried[-1]

        stock = {(await attempt(proposal)).kld: proposal for proposal in stock_files(limits, layout, ladder)}
        best = min(stock)
        for proposal in (stocked := topped(limits, layout, stock[best], depth)):
            if (await attempt(proposal)).kld <= best:
                break
        if not any(limits.are_used(layout, each.types) for each in (*stocked, stock[best])):
            await attempt(fullest(limits, layout))
        for proposal in proposals(limits, layout, ladder, depth, rounds=self.plan.rounds):
            if time.monotonic() > deadline:
                self.was_ended = True
                break
            await attempt(proposal)
        return decide(tried, limits.most, _difference)

    async def _quick_enough(self, found: Verdict, limits: Limits, course: Course, deadline: float) -> Verdict:
        """Smaller files until one is written with as fast as wished."""
        wanted = self.wish.min_speed
        for _ in range(_ROUNDS):
            if wanted is None or found.winner.speed >= wanted:
                return found
            size = int(found.winner.size_bytes * min(max(found.winner.speed / wanted, 0.5), 0.95))
            if size < self.plan.least:
                break
            found = await self._within(replace(limits, most=size), course, deadline)
        best = max(self.bench.found, key=lambda each: each.speed)
        if wanted is not None and found.winner.speed < wanted:
            raise NoBuildFits(
                f"{wanted:g} tokens a second were not reached: the fastest file, of {sized(best.size_bytes)}, "
                f"writes {best.speed:.1f} here",
                f"--min-speed {best.speed * _MARGIN:.3g} can be met",
            )
        return found

    def _good_enough(self, found: Verdict) -> Verdict:
        wanted = self.wish.max_kld
        if wanted is not None and found.winner.kld > wanted:
            speed = self.wish.min_speed
            quick = "" if speed is None else f" that writes {speed:g} tokens a second"
            other = "a larger --target" if speed is None else "a lower --min-speed"
            raise UsageError(
                f"a file of at most {sized(self.plan.most)}{quick} loses {found.winner.kld:.3g} nats a token at best, "
                f"more than {wanted:g}",
                f"{other}, or --max-kld {found.winner.kld * 1.05:.2g}",
            )
        return found

    async def _smallest(self, course: Course, deadline: float) -> Verdict:
        """The smallest file with a loss of at most what is wished, to a fiftieth of its size."""
        wanted = self.wish.max_kld
        assert wanted is not None
        low, high = self.plan.least, self.plan.most
        size = self._guess(wanted, low, high)
        best: Verdict | None = None
        for _ in range(_ROUNDS):
            limits = self._limits(size)
            found = await self._within(limits, course, deadline)
            if found.winner.kld <= wanted:
                best, high = found, min(found.winner.size_bytes, size)
            else:
                low = size
            if self.was_ended or high - low <= _CLOSE * high:
                break
            size = high if best is None and low >= 0.97 * high else (low + high) // 2
        if best is None:
            best = await self._finest(wanted, course, deadline)
        limits = replace(limits, most=best.winner.size_bytes)
        return self._good_enough(await self._quick_enough(best, limits, course, deadline))

    async def _finest(self, wanted: float, course: Course, deadline: float) -> Verdict:
        """The largest file there can be, as nothing smaller will do."""
        found = await self._within(self._limits(self.plan.most), course, deadline)
        if found.winner.kld > wanted:
            raise UsageError(
                f"a loss of {wanted:g} nats a token is less than the finest file has ({found.winner.kld:.2g})",
                f"--max-kld {found.winner.kld * 1.05:.2g} can be met",
            )
        return found

    def _guess(self, wanted: float, low: int, high: int) -> int:
        """Where to begin: the recipe whose usual loss it is."""
        usual = (("Q8_0", 0.0014), ("Q6_K", 0.0055), ("Q5_K_M", 0.0108), ("Q4_K_M", 0.0282), ("Q3_K_M", 0.0844))
        sizes = {rung.label: rung.size_bytes for rung in self.plan.rungs}
        fitting = [sizes[label] for label, kld in usual if label in sizes and kld <= wanted]
        return min(max(min(fitting, default=high), low), high)


def _difference(one: Measured, other: Measured) -> tuple[float, float, float]:
    return difference(read_tokens(Path(one.scores)).kld, read_tokens(Path(other.scores)).kld)
