"""Ask the vision starter about held-out drawn scenes through `nanolocal ask --attach`, and count the right answers.

`python scripts/eval_starter_vision.py --count 300 --card`. The first questions go through the command itself, a process
each; the others through the same turn of one session, whose engine stays loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from starter_scenes import Scene, draw
from starter_vision.card import add_figures, write_readme
from starter_vision.export import ID
from starter_vision.pictures import in_order, scenes
from starter_vision.questions import Asked, ask, described

from nanolocal import bootstrap
from nanolocal.chat.events import Finished
from nanolocal.chat.messages import Attachment, TurnRequest
from nanolocal.paths import Paths

ROOT = Path(__file__).resolve().parent.parent
SIDES = (64, 96, 128, 200, 256)
PASSPHRASE = "only for the evaluation"  # noqa: S105 - the home is removed afterwards


@dataclass(frozen=True, slots=True)
class Case:
    """A picture file in memory, a question about it, and what is on it."""

    scene: Scene
    asked: Asked
    png: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What was answered to a case, and by which build."""

    case: Case
    said: str
    build: str

    @property
    def is_right(self) -> bool:
        """Whether the vision starter gave the right answer."""
        return self.build.startswith(ID) and self.case.asked.is_right(self.said)


def cases(count: int, seed: int) -> list[Case]:
    """So many held-out scenes, no two alike, with a question about each."""
    rng = random.Random(f"evaluation {seed}")
    seen: set[str] = set()
    found: list[Case] = []
    for scene in scenes(rng, held_out=True):
        if len(found) == count:
            break
        if described(scene) in seen:
            continue
        seen.add(described(scene))
        file = BytesIO()
        draw(scene, rng.choice(SIDES)).save(file, "PNG")
        found.append(Case(scene, ask(scene, rng), file.getvalue()))
    return found


def by_command(case: Case, home: Path) -> Result:
    """The answer of `nanolocal ask --attach FILE QUESTION`."""
    picture = home.parent / "picture.png"
    picture.write_bytes(case.png)
    command = (sys.executable, "-m", "nanolocal", "ask", "--attach", str(picture), case.asked.question, "--json")
    environment = os.environ | {"NANOLOCAL_HOME": str(home), "NANOLOCAL_PASSPHRASE": PASSPHRASE}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    return Result(case, told["text"], told["build"])


async def by_session(chosen: Sequence[Case], home: Path) -> list[Result]:
    """The answers of the turn that the command runs, in one session."""
    session = bootstrap.open_session(Paths.choose(home), PASSPHRASE)
    results = []
    try:
        for case in chosen:
            request = TurnRequest(case.asked.question, (Attachment("picture.png", "image/png", case.png),))
            async with aclosing(session.chat.turn(request, asyncio.Event())) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        results.append(Result(case, event.answer.text, event.answer.route.build.id))
    finally:
        await session.close()
    return results


def figures(results: Sequence[Result], processes: int) -> dict[str, object]:
    """What goes onto the card: counts by kind of question and the first samples."""
    kinds: dict[str, dict[str, int]] = {}
    for result in sorted(results, key=lambda result: result.case.asked.kind):
        kind = kinds.setdefault(result.case.asked.kind, {"asked": 0, "right": 0})
        kind["asked"] += 1
        kind["right"] += result.is_right
    samples = [
        {"picture": described(result.case.scene), "question": result.case.asked.question, "said": result.said}
        for result in results[:16]
    ]
    right = sum(result.is_right for result in results)
    return {"asked": len(results), "right": right, "processes": processes, "kinds": kinds, "samples": samples}


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The wrong answers, with what is on the picture."""
    for result in results:
        if not result.is_right:
            sizes = ", ".join(thing.size or "normal" for thing in in_order(result.case.scene))
            yield f"{described(result.case.scene)} ({sizes})  > {result.case.asked.question}  : {result.said}"


def main() -> int:
    """Ask, print the table; exit 1 below the share that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many scenes, with one question each")
    parser.add_argument("--processes", type=int, default=30, help="how many of them are asked by the command itself")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.95, help="the share of right answers below which it fails")
    parser.add_argument("--card", action="store_true", help="write the figures into card.json and README.md")
    chosen = parser.parse_args()
    asked = cases(chosen.count, chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        results = [by_command(case, home) for case in asked[: chosen.processes]]
        results += asyncio.run(by_session(asked[chosen.processes :], home))
    measured = figures(results, min(chosen.processes, chosen.count))
    print("\n".join(lines(results)))
    print(json.dumps(measured["kinds"], indent=1))
    right = sum(result.is_right for result in results)
    print(f"right: {right} of {len(results)}, {right / len(results):.1%}")
    if chosen.card:
        add_figures(ROOT / "models" / ID, measured)
        write_readme(ROOT / "models" / ID)
    return 0 if right >= chosen.least * len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
