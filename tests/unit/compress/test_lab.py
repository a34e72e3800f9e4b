"""The whole run, on builds with random weights: real files, real measurements, in the library at the end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from nanolocal.compress import workspace
from nanolocal.compress.asking import Ask, Cut, Made, Prepared
from nanolocal.compress.gate import Measured
from nanolocal.compress.lab import Lab
from nanolocal.compress.measuring import calibration
from nanolocal.compress.plan import Device, Tier
from nanolocal.compress.progress import Progress
from nanolocal.compress.pruning import parse_cut
from nanolocal.compress.recipe import PruneStep, RecoverStep, recipe_from_json
from nanolocal.compress.report import lines
from nanolocal.compress.targets import Bytes, Wish
from nanolocal.compress.work.tasks import Divergence, Question, Result, Task, Tell
from nanolocal.compress.work.workers import Workers
from nanolocal.errors import Damaged, NoBuildFits, UsageError
from nanolocal.library.cards import report_beside
from nanolocal.library.library import Library
from tests.fakes.tiny_gguf import write_tiny_gguf

DEVICE = Device(memory=8 * 10**9, disk=50 * 10**9, bandwidth=20e9, cores=2)
QUICK = Wish(seconds=1.0)
QUESTIONS = (
    Question("math", "1 + 1?", ("2", "3", "11")),
    Question("chat", "Which is hot?", ("fire", "ice")),
)


class Stand:
    """A library with one build, and a lab over it."""

    def __init__(self, folder: Path, layers: int = 1) -> None:
        self.models = folder / "models"
        (self.models / "tiny").mkdir(parents=True)
        write_tiny_gguf(self.models / "tiny/tiny-F32.gguf", n_ctx=64, layers=layers)
        self.library = Library([self.models], folder / "index.json")
        self.lab = Lab(self.models, self.library, DEVICE)
        self.told: list[Progress] = []
        self.measured: list[Measured] = []

    def ask(self, wish: Wish = QUICK) -> Ask:
        return Ask(self.library.get("tiny:F32"), wish, questions=QUESTIONS, command="nanolocal compress tiny:F32")

    def make(self, ask: Ask, change: Callable[[Prepared], Prepared] = lambda prepared: prepared) -> Made:
        async def work() -> Made:
            prepared = change(await self.lab.prepare(ask))
            return await self.lab.make(prepared, self.told.append, self.measured.append)

        return asyncio.run(work())


def fewer(prepared: Prepared, tier: Tier = Tier.STOCK, *, rounds: bool = False) -> Prepared:
    """The same with little text, searched as deep as a test wants."""
    bytes_ = 10**9 if rounds else 0
    plan = replace(prepared.plan, chunks=8, held_out=8, tier=tier, rounds=rounds, hessian_bytes=bytes_)
    return replace(prepared, plan=plan)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stand, Made]:
    """A run that goes as deep as it can."""
    stand = Stand(tmp_path_factory.mktemp("lab"))
    wish = Wish(size=Bytes(500_000), seconds=600.0)
    return stand, stand.make(stand.ask(wish), lambda prepared: fewer(prepared, Tier.QUADRATIC, rounds=True))


def test_the_result_is_in_the_library_with_its_card(done: tuple[Stand, Made]) -> None:
    stand, made = done
    build = next(build for build in stand.library.builds() if build.path == made.path)
    report = report_beside(made.path)
    assert report == json.loads(json.dumps(made.report)) | {"file": made.path.name, "sha256": build.sha256}
    assert build.id.startswith("tiny:Q")
    assert 0 < build.retained <= 1
    assert build.size_bytes == report["bytes"]
    assert build.size_bytes <= 500_000
    assert not stand.library.problems()
    assert workspace.unfinished(stand.models) == []


def test_every_figure_is_of_a_real_run(done: tuple[Stand, Made]) -> None:
    _, made = done
    told = dict(lines(made.report))
    assert set(told) >= {"made from", "loss", "to stock", "suite", "speed", "memory", "energy", "keeps", "made by"}
    accuracy, speed = made.report["accuracy"], made.report["speed"]
    assert isinstance(accuracy, dict) and isinstance(speed, dict)
    assert accuracy["mean"] > 0 and accuracy["error"] > 0 and accuracy["tokens"] == 8 * 31
    assert speed["write_tok_s"] > 0 and speed["source_write_tok_s"] > 0
    suite = made.report["suite"]
    assert isinstance(suite, dict) and suite["questions"] == 2 and set(suite["by_task"]) == {"math", "chat"}


def test_stock_was_measured_and_what_is_kept_is_no_worse(done: tuple[Stand, Made]) -> None:
    stand, made = done
    stock = [each for each in stand.measured if each.is_stock]
    kept = next(point for point in made.points if point.is_kept)
    assert len(stock) == 2
    assert len(stand.measured) >= 6
    assert kept.kld <= min(each.kld for each in stock)


def test_the_recipe_in_the_file_makes_it_again_to_the_byte(done: tuple[Stand, Made], tmp_path: Path) -> None:
    stand, made = done
    field = gguf.GGUFReader(made.path).get_field("nanolocal.compress.recipe")
    assert field is not None
    recipe = recipe_from_json(field.contents())
    again = stand.make(replace(stand.ask(), recipe=recipe), lambda prepared: replace(
        prepared, plan=replace(prepared.plan, held_out=8)
    ))  # fmt: skip
    assert again.path != made.path
    assert again.path.read_bytes() == made.path.read_bytes()


def test_a_recipe_for_another_build_is_refused(done: tuple[Stand, Made]) -> None:
    stand, made = done
    recipe = recipe_from_json(json.dumps(made.report["recipe"]))
    with pytest.raises(UsageError, match="another build"):
        stand.make(replace(stand.ask(), recipe=replace(recipe, source_sha256="0" * 64)))


def test_cancelled_it_keeps_what_it_knows_and_goes_on(tmp_path: Path) -> None:
    stand = Stand(tmp_path)

    async def ended() -> None:
        prepared = fewer(await stand.lab.prepare(stand.ask()))

        def end(measured: Measured) -> None:
            task.cancel()

        task = asyncio.create_task(stand.lab.make(prepared, stand.told.append, end))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ended())
    (job,) = workspace.unfinished(stand.models)
    assert job.command == "nanolocal compress tiny:F32"
    assert len(stand.library.builds()) == 1
    known = len((job.folder / "journal.jsonl").read_text().splitlines())
    made = stand.make(stand.ask(), fewer)
    search = made.report["search"]
    assert isinstance(search, dict)
    assert known >= 6
    assert made.path.is_file()
    assert [progress.done for progress in stand.told if progress.done > 1] == []


def test_private_text_leaves_nothing_but_the_build(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    secret = "The heron keeps the quartz lantern under the seventh stair. "
    text = calibration.split([secret * 40] * 6, name="6 own conversations", is_public=False)
    made = stand.make(replace(stand.ask(), text=text), fewer)
    assert made.report["calibration"]["what"] == "6 own conversations"  # type: ignore[index]
    assert "sha256" not in made.report["calibration"]  # type: ignore[operator]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"quartz lantern" not in path.read_bytes(), path
    assert not list(Path("/dev/shm").glob("nanolocal-*"))


def test_a_broken_file_is_refused_before_any_work(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    ask = stand.ask()
    content = ask.build.path.read_bytes()
    ask.build.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Damaged):
        stand.make(ask)
    assert not (stand.models / ".compressing").exists()


def test_a_pruned_build_has_all_its_steps_in_its_recipe(tmp_path: Path) -> None:
    stand = Stand(tmp_path, layers=2)
    ask = replace(stand.ask(), prune=Cut(layers=1, seconds=0.1))
    made = stand.make(ask, lambda prepared: replace(fewer(prepared), pruning=(PruneStep(1), RecoverStep(2, 2))))
    recipe = recipe_from_json(json.dumps(made.report["recipe"]))
    assert [type(step).__name__ for step in recipe.steps] == ["PruneStep", "RecoverStep", "QuantizeStep"]
    facts = gguf.GGUFReader(made.path)
    count = facts.get_field("llama.block_count")
    assert count is not None and count.contents() == 1
    again = stand.make(replace(stand.ask(), recipe=recipe), fewer)
    assert again.path.read_bytes() == made.path.read_bytes()


@pytest.mark.parametrize("text", ["", "layers", "layers=0", "layers=1.5", "ffn=0", "ffn=100%", "heads=3", "ffn=x"])
def test_what_cannot_be_taken_out_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="what to take out"):
        parse_cut(text)


def test_parts_are_named_as_people_write_them() -> None:
    assert parse_cut("layers=2, ffn=33%") == Cut(2, 0.33)


@pytest.mark.slow
def test_the_smallest_file_with_a_loss_is_found_or_refused(done: tuple[Stand, Made]) -> None:
    stand, _ = done
    losses = sorted(each.kld for each in stand.measured)
    wanted = losses[-1] * 1.5
    made = stand.make(stand.ask(Wish(max_kld=wanted, seconds=1.0)), fewer)
    assert made.report["accuracy"]["mean"] <= wanted  # type: ignore[index]
    assert made.report["bytes"] < stand.library.get("tiny:F32").size_bytes  # type: ignore[operator]
    with pytest.raises(UsageError, match="finest file") as refused:
        stand.make(stand.ask(Wish(max_kld=1e-9, seconds=1.0)), fewer)
    assert "--max-kld" in refused.value.hint


@pytest.mark.slow
def test_a_speed_that_no_file_has_is_refused_with_the_fastest(done: tuple[Stand, Made]) -> None:
    stand, _ = done
    fast = replace(stand.lab._device, bandwidth=1e15)
    lab = Lab(stand.models, stand.library, fast)

    async def work() -> Made:
        prepared = fewer(await lab.prepare(stand.ask(Wish(min_speed=900_000, seconds=1.0))))
        return await lab.make(prepared, stand.told.append)

    with pytest.raises(NoBuildFits, match="were not reached") as refused:
        asyncio.run(work())
    assert "--min-speed" in refused.value.hint


class QuickWhereSmall:
    """Real files and losses; how fast they write follows from their size, as on a machine that nothing disturbs."""

    def __init__(self, folder: Path) -> None:
        self._workers = Workers(folder)
        self.close = self._workers.close

    async def run(self, task: Task, tell: Tell) -> Result:
        found = await self._workers.run(task, tell)
        return replace(found, write_per_s=1e9 / found.file_bytes) if isinstance(found, Divergence) else found


@pytest.mark.slow
def test_a_file_that_is_small_enough_to_be_quick_has_to_lose_no_more_than_wished(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.lab = Lab(stand.models, stand.library, replace(DEVICE, bandwidth=1e15), runner=QuickWhereSmall)
    made = stand.make(stand.ask(Wish(max_kld=0.05, seconds=1.0)), fewer)
    size = made.report["bytes"]
    assert isinstance(size, int)
    wish = Wish(max_kld=0.05, min_speed=1.05e9 / size, seconds=1.0)
    with pytest.raises(UsageError, match="tokens a second loses") as refused:
        stand.make(stand.ask(wish), fewer)
    assert "a lower --min-speed" in refused.value.hint
