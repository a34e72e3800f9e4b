"""The run of the lab: plan, calibrate, propose, make, measure, keep the best, and put it into the library.

Every step is a task of a child, and what came of it is on disk before the next begins (``workspace``). What is kept is
decided by the gate, on the real files.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.messages import Measured as Energy
from nanolocal.chat.routes import Build, Kind
from nanolocal.compress import installing, repeating, workspace
from nanolocal.compress import plan as planning
from nanolocal.compress import report as reporting
from nanolocal.compress.asking import Ask, Cut, Made, Prepared
from nanolocal.compress.gate import Measured, Verdict
from nanolocal.compress.measuring.calibrating import Material, gather
from nanolocal.compress.plan import Device, Tier
from nanolocal.compress.progress import Course, Progress
from nanolocal.compress.pruning import steps_for, training_bytes
from nanolocal.compress.search import searching
from nanolocal.compress.search.bench import Bench, Metadata, Proposal
from nanolocal.compress.search.losses import Evidence, Probing
from nanolocal.compress.search.stock import Stock, stock
from nanolocal.compress.search.tabling import tables
from nanolocal.compress.targets import Wish
from nanolocal.compress.weights.sizes import is_quantized, source_kind
from nanolocal.compress.work.remembered import Remembered
from nanolocal.compress.work.tasks import Divergence, Measure, Sat, Sit, Source, Write, Wrote
from nanolocal.compress.work.workers import Runner, Workers
from nanolocal.compress.workspace import Workspace
from nanolocal.device.power import Meter
from nanolocal.errors import UsageError
from nanolocal.library.fit.layout import Layout, read_layout
from nanolocal.library.library import Library
from nanolocal.paths import make_private

LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K")
"""Stock recipes, from the finest to the coarsest, that a plan shows and that files have to beat."""
_WRITTEN, _READ, _ROUNDS = 64, 128, 3
"""Tokens whose speed and energy are told, those before them, and how often both files write them."""


class Lab:
    """Makes smaller builds of those in ``library`` below ``models``.

    ``runner`` gives what does the tasks of a run in its folder; by default children of this process.
    """

    def __init__(
        self,
        models: Path,
        library: Library,
        device: Device,
        meter: Callable[[], Meter] = Meter.open,
        runner: Callable[[Path], Runner] = Workers,
    ) -> None:
        self._models = models
        self._library = library
        self._device = device
        self._meter = meter
        self._runner = runner

    async def prepare(self, ask: Ask) -> Prepared:
        """What would be done; nothing is written.

        Raises ``UsageError`` for a build or a wish that cannot be, ``Damaged`` for a broken file, ``NoBuildFits`` for
        what this machine cannot hold.
        """
        build = ask.build
        check(build)
        layout = await asyncio.to_thread(read_layout, build.path)
        runner = self._runner(self._models)
        try:
            ladder = await _ladder(runner, Source(str(build.path), build.sha256), layout)
        finally:
            runner.close()
        pruning = steps_for(ask.prune, ask.recipe, layout, self._device)
        wish = ask.wish if pruning is None else Wish(seconds=ask.wish.seconds)
        plan = planning.make(layout, ladder, wish, self._device, requantize=ask.requantize)
        if ask.recipe is not None and pruning is None:
            plan = repeating.planned(plan, layout, ask.recipe)
        if pruning is not None:
            plan = replace(plan, needs_memory=max(plan.needs_memory, training_bytes(layout, pruning[0])))
        return Prepared(ask, plan, layout, ladder, pruning)

    async def replan(self, prepared: Prepared, source: Source, runner: Runner) -> Prepared:
        """The plan for what is left of a model by pruning, at ``source``; raises as ``prepare`` does."""
        layout, ask = await asyncio.to_thread(read_layout, Path(source.path)), prepared.ask
        ladder = await _ladder(runner, source, layout)
        plan = planning.make(layout, ladder, ask.wish, self._device, requantize=True)
        if ask.recipe is not None:
            plan = repeating.planned(plan, layout, ask.recipe)
        return replace(prepared, plan=plan, layout=layout, ladder=ladder)

    async def make(
        self,
        prepared: Prepared,
        tell: Callable[[Progress], None],
        hear: Callable[[Measured], None] = lambda measured: None,
    ) -> Made:
        """Carry it out; cancelled, what was found out is kept, and the same call goes on from there.

        ``hear`` is told of every file that was measured.

        Raises what the steps raise, ``UsageError`` or ``NoBuildFits`` where measuring shows that a wish cannot be met.
        """
        ask = prepared.ask
        make_private(self._models)
        with workspace.opened(self._models, _key(ask), ask.build.id, ask.command) as space:
            folder = workspace.placed(self._models, space)
            if folder is None:
                runner = self._runner(space.folder)
                try:
                    made = await _Run(self, prepared, space, runner, tell, hear).made()
                finally:
                    runner.close()
            else:
                made = _found(folder)
        workspace.discard(self._models, space.folder)
        self._library.forget()
        return made

    @property
    def models(self) -> Path:
        """Where builds are put."""
        return self._models

    @property
    def library(self) -> Library:
        """The builds there are."""
        return self._library

    @property
    def children(self) -> Callable[[Path], Runner]:
        """What gives a runner for tasks that write to a folder."""
        return self._runner

    def meter(self) -> Meter:
        """What measures energy."""
        return self._meter()


def check(build: Build) -> None:
    """Raise ``UsageError`` unless ``build`` is of a kind that the lab can make smaller."""
    if build.kind is not Kind.TEXT or build.path.suffix.lower() != ".gguf":
        raise UsageError(f"{build.id} is no text build in a GGUF file", "nanolocal models list shows what there is")
    if build.needs:
        raise UsageError(f"{build.id} needs {build.needs}, so nothing here can measure it", "choose another build")
    if build.set_aside:
        raise UsageError(f"{build.id} is set aside: {build.set_aside}", f"nanolocal models verify {build.id}")


async def _ladder(runner: Runner, source: Source, layout: Layout) -> tuple[Stock, ...]:
    """The stock recipes on this model, those left out that make no other file than a finer one."""
    held = {tensor.name: tensor for tensor in layout.tensors}
    found: list[Stock] = []
    for label in LADDER:
        recipe = await stock(runner, source, label, lambda share: None)
        types = {name: kind for name, kind in recipe.types.items() if len(held[name].shape) > 1}
        if not found or types != found[-1].types:
            found.append(Stock(label, types))
    return tuple(found)


def _key(ask: Ask) -> str:
    """What a run is told by: other wishes are another run, but not another time for it."""
    wish = replace(ask.wish, seconds=None)
    text = None if ask.text is None else ask.text.sha256 if ask.text.is_public else "private"
    facts = {
        "source": ask.build.sha256, "path": str(ask.build.path), "wish": repr(wish), "text": text,
        "recipe": "" if ask.recipe is None else ask.recipe.to_json(), "seed": ask.seed,
        "prune": repr(ask.prune), "label": ask.label, "requantize": ask.requantize,
    }  # fmt: skip
    return workspace.key_of(facts)


def _pruned(material: Material) -> dict[str, object] | None:
    """What a card says of pruning, where there was any."""
    if material.pruned is None or material.prepared.pruning is None:
        return None
    step, recover = material.prepared.pruning
    last = material.pruned.rounds[-1]
    return {
        "layers": step.layers,
        "hidden": step.hidden,
        "steps": recover.steps,
        "kld_before": last.pruned,
        "kld": last.recovered,
    }


def _found(folder: Path) -> Made:
    """What a run had put in its place before it was ended."""
    from nanolocal.library.cards import report_beside

    path = next(folder.glob("*.gguf"))
    report = report_beside(path)
    return Made(path, report, tuple(reporting.points(report)))


class _Run:
    """One run in its folder."""

    def __init__(
        self,
        lab: Lab,
        prepared: Prepared,
        space: Workspace,
        runner: Runner,
        tell: Callable[[Progress], None],
        hear: Callable[[Measured], None],
    ) -> None:
        self._lab = lab
        self._hear = hear
        self._ask, self._plan, self._layout = prepared.ask, prepared.plan, prepared.layout
        self._ladder = prepared.ladder
        self._prepared = prepared
        self._space = space
        self._children = runner
        self._runner = Remembered(runner, space)
        steps = planning.steps_of(prepared.plan)
        if prepared.pruning is not None:
            steps["prune"] = (prepared.ask.prune or Cut()).seconds
        self._course = Course(steps, tell)
        self._began = time.monotonic()

    async def made(self) -> Made:
        """Everything, from the first measurement to the finished build."""
        material = await gather(
            self._prepared, self._space, self._runner, self._lab.children, self._lab.replan, self._course
        )
        self._prepared, self._plan = material.prepared, material.prepared.plan
        try:
            await self._tables(material)
            bench = self._bench(material)
            search = searching.Search(material.prepared, material, bench)
            verdict = await search.verdict(self._course, self._deadline())
            await bench.make(bench.proposals[verdict.winner.path], lambda share: None)
            report = await self._report(material, bench, verdict, search)
        finally:
            material.close()
        self._course.begin("install", "putting it into the library")
        kept = verdict.winner.name.partition(" ")[0].rstrip(",") if verdict.winner.is_stock else ""
        bits = 8 * verdict.winner.size_bytes / self._plan.parameters
        label = installing.label_for(self._ask.build, self._ask.label, kept, bits, self._lab.library)
        file = Path(verdict.winner.path)
        path = await asyncio.to_thread(
            installing.install, self._space, self._lab.models, file, self._ask.build, label, report
        )
        self._course.tell(1.0, "done")
        return Made(path, report, tuple(reporting.points(report)))

    async def _tables(self, material: Material) -> None:
        if material.probing is None and self._plan.tier is not Tier.WEIGHTED:
            return
        tensors = {
            tensor.name: tensor for tensor in (await asyncio.to_thread(read_layout, Path(material.source.path))).tensors
        }
        probing = material.probing or Probing(material.held_out, material.base)
        evidence = Evidence(material.source, tensors, material.statistics)
        material.depth = await tables(
            self._runner, evidence, probing, self._plan, self._ask.seed, self._course, self._deadline()
        )

    def _deadline(self) -> float:
        return self._began + (self._ask.wish.seconds or planning.USUAL_SECONDS)

    def _bench(self, material: Material) -> Bench:
        def metadata(proposal: Proposal) -> Metadata:
            recipe = material.recipe(proposal, self._ask.seed).to_json()
            return {f"{reporting.KEYS}version": 1, f"{reporting.KEYS}recipe": recipe}

        return Bench(
            self._runner,
            material.source,
            self._space.folder,
            material.held_out,
            material.base,
            material.statistics,
            metadata,
            self._hear,
        )

    async def _report(
        self, material: Material, bench: Bench, verdict: Verdict, search: "searching.Search"
    ) -> dict[str, object]:
        """The card of the winner, with what the source does on the same questions."""
        winner = verdict.winner
        self._course.begin("report", "measuring what it can do and takes")
        measured = Measure(
            str(material.source.path), material.base, material.held_out, str(self._space.path("own.npy"))
        )
        figures = await self._runner.run(measured, lambda share: self._course.tell(0.2 * share))
        assert isinstance(figures, Divergence)
        marks = [await self._marks(path) for path in (winner.path, material.original.path)]
        written = await self._in_turn((winner.path, material.original.path), material)
        return reporting.made_of(
            reporting.Facts(
                file=Path(winner.path).name,
                sha256="",
                size_bytes=winner.size_bytes,
                parameters=self._plan.parameters,
                source_id=self._ask.build.id,
                source_sha256=material.source.sha256,
                source_bytes=self._layout.size_bytes,
                source_type=source_kind(self._layout),
                requantized=is_quantized(self._layout),
                verdict=verdict,
                candidates=bench.found,
                figures=bench.figures[winner.path],
                source_figures=figures,
                marks=marks[0],
                source_marks=marks[1],
                weights=self._ask.weights,
                writes=(written[0][0], written[1][0]),
                energy=written[0][1],
                source_energy=written[1][1],
                energy_tokens=_WRITTEN,
                recipe=json.loads(material.recipe(bench.proposals[winner.path], self._ask.seed).to_json()),
                calibration=material.calibration_facts,
                held_out=material.held_out_facts,
                search={
                    "tier": search.tier,
                    "tasks": self._runner.asked,
                    "seconds": round(time.monotonic() - self._began, 1),
                },
                left=search.left(verdict),
                pruned=_pruned(material),
            )
        )

    async def _marks(self, path: str) -> reporting.Marks | None:
        if not self._ask.questions:
            return None
        sat = await self._runner.run(Sit(path, tuple(self._ask.questions)), lambda share: self._course.tell(0.5))
        assert isinstance(sat, Sat)
        return reporting.Marks(tuple(question.task for question in self._ask.questions), sat.chosen)

    async def _in_turn(self, paths: Sequence[str], material: Material) -> list[tuple[float, Energy | None]]:
        """Tokens a second and what they take, for each of ``paths``; in turn, as other programs use the machine too."""
        rounds = [[await self._written(path, material) for path in paths] for _ in range(_ROUNDS)]
        found = []
        for each in zip(*rounds, strict=True):
            energies = [energy for _, energy in each if energy is not None]
            least = min(energies, key=lambda energy: energy.joules, default=None)
            found.append((statistics.median(speed for speed, _ in each), least))
        return found

    async def _written(self, path: str, material: Material) -> tuple[float, Energy | None]:
        """One round, by the counters of this machine; those do not run on while nobody looks."""
        reading = None
        meter = self._lab.meter()

        def begun(share: float) -> None:
            nonlocal reading
            if reading is None:
                reading = meter.start()

        wrote = await self._children.run(Write(path, material.held_out.tokens[0][:_READ], _WRITTEN), begun)
        assert isinstance(wrote, Wrote)
        return _WRITTEN / wrote.seconds, None if reading is None else reading.so_far(wrote.cpu_seconds)
