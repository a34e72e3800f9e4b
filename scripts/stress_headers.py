#!/usr/bin/env python3
"""Tries to get a broken model file past the preflight, or to break the preflight itself.

    scripts/stress_headers.py --gguf 10000 --safetensors 1000

Every mutant is read as the library does it, with its CPU seconds. Refused ones then go to real engine children, which
have to refuse them too without a native library in memory; those that are taken are loaded there and answer a prompt.
Prints what became of each kind of change, and why llama.cpp ended over a file that was taken. Ends with 1 when the
preflight raised anything but ``Damaged``, took a second, or left it to llama.cpp to refuse what it had refused.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanolocal.engines import protocol
from nanolocal.engines.client import Child, ChildDied
from nanolocal.engines.isolation import SWITCH
from nanolocal.errors import Damaged
from nanolocal.formats.preflight import check_model
from nanolocal.formats.safetensors_header import read_header
from tests.fakes.small_models import write_all
from tests.faults import mutants, safetensors_mutants

FILES_A_CHILD = 200
"""A child never gives the memory of a build back before it ends."""
STALL_S = 30.0
PATIENCE_S = 60.0
NATIVE = ("libllama", "libggml", "libtorch", "_safetensors_rust")


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=int, default=10_000, help="how many mutants")
    parser.add_argument("--safetensors", type=int, default=1000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where accepted files that ended a child are kept")
    args = parser.parse_args()
    os.environ[SWITCH] = "off"  # an isolated child could open its first file alone
    with tempfile.TemporaryDirectory(prefix="headers-") as room:
        wrong = asyncio.run(run_gguf(args, Path(room))) if args.gguf else 0
        wrong += asyncio.run(run_safetensors(args, Path(room))) if args.safetensors else 0
    return int(bool(wrong))


@dataclass(slots=True)
class Tally:
    """What became of the mutants, by kind of change."""

    made: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    worst_s: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def read(self, kinds: tuple[str, ...], reader: Callable[[], object]) -> bool:
        """Whether ``reader`` takes the file."""
        begun = time.process_time()
        is_taken = False
        try:
            reader()
            is_taken = True
        except Damaged:
            pass
        except Exception as error:  # this is what is looked for
            self.wrong.append(f"{', '.join(kinds)}: {type(error).__name__}: {error}")
        spent = time.process_time() - begun
        for kind in kinds:
            self.made[kind] += 1
            self.refused[kind] += not is_taken
            self.worst_s[kind] = max(self.worst_s.get(kind, 0.0), spent)
        return is_taken

    def show(self, what: str, count: int, taken: int) -> int:
        """Print all of it; how much was wrong."""
        print(f"\n{'change':28} {'mutants':>8} {'refused':>8} {'taken':>8} {'worst CPU s':>12}")
        for kind, made in sorted(self.made.items()):
            print(f"{kind:28} {made:8} {self.refused[kind]:8} {made - self.refused[kind]:8} {self.worst_s[kind]:12.4f}")
        worst = max(self.worst_s.values(), default=0.0)
        print(f"{count} {what} mutants: {count - taken} refused, {taken} taken, worst {worst:.4f} CPU s")
        for fate, times in sorted(self.fates.items()):
            print(f"  {fate:60} {times:6}")
        for reason, times in self.ends.most_common():
            print(f"  ended the child {times:4} times: {reason}")
        if worst >= 1:
            self.wrong.append(f"a file took {worst:.2f} CPU seconds")
        print(*self.wrong[:50], f"{len(self.wrong)} wrong", sep="\n")
        return len(self.wrong)


async def run_gguf(args: argparse.Namespace, room: Path) -> int:
    """Mutants of every kind of GGUF file."""
    tally, bases = Tally(), write_all(room / "bases")
    refusing, loading = Engine("text", room), Engine("text", room)
    taken = 0
    for number, mutant in enumerate(mutants.Mutator(bases, args.seed).mutants(args.gguf)):
        path = put(mutant, room / "file")
        if tally.read(mutant.kinds, lambda path=path: check_model(path)):  # type: ignore[misc]
            taken += 1
            fate = await loading.load(path)
            tally.fates[f"taken: {fate.split(':')[0]}"] += 1
            if fate.startswith("died"):
                tally.ends[fate] += 1
                print(f"mutant {number} ({mutant.base.name}: {', '.join(mutant.kinds)}) {fate}", flush=True)
                keep(args.keep, mutant, number)
        else:
            await refuse(refusing, path, tally)
        if number % 1000 == 999:
            print(f"{number + 1} of {args.gguf}", flush=True)
    await close(refusing, loading)
    return tally.show("GGUF", args.gguf, taken)


def put(mutant: mutants.Mutant, folder: Path) -> Path:
    """The mutant as a file; the other part of a split one beside it. Returns where the model begins."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for part in mutant.base.parent.glob("split-*") if mutant.base.name.startswith("split-") else ():
        (folder / part.name).write_bytes(part.read_bytes())
    (folder / mutant.base.name).write_bytes(mutant.content)
    return folder / mutant.base.name.replace("-00002-of", "-00001-of")


def keep(folder: Path | None, mutant: mutants.Mutant, number: int) -> None:
    """Put a file aside that ended the engine."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}-{mutant.base.name}").write_bytes(mutant.content)


async def run_safetensors(args: argparse.Namespace, room: Path) -> int:
    """Mutants of a safetensors file: refused ones as part of a pipeline, taken ones with the library itself."""
    tally, folder = Tally(), room / "pipeline"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}', encoding="utf-8")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    refusing, taken = Engine("image", room), 0
    for kind, content in safetensors_mutants.Mutator(args.seed).mutants(args.safetensors):
        path.write_bytes(content)
        if tally.read((kind,), lambda: read_header(path)):
            taken += 1
            tally.fates[f"taken: {natively(content)}"] += 1
        else:
            await refuse(refusing, folder, tally)
    await close(refusing)
    return tally.show("safetensors", args.safetensors, taken)


def natively(content: bytes) -> str:
    """What the safetensors library says; it is memory-safe, so it may do so here."""
    from safetensors import SafetensorError, deserialize

    try:
        deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        return f"refused by safetensors: {error}"
    return "read by safetensors"


async def refuse(engine: "Engine", path: Path, tally: Tally) -> None:
    """A refused file in a real child: it has to say so, with no native library in its memory."""
    fate = await engine.load(path)
    native = engine.native()
    tally.fates[f"refused: {'again in the child' if fate == 'refused' else fate}"] += 1
    if fate != "refused" or native:
        tally.wrong.append(f"a refused file reached {native or 'the engine'}: {fate}")
        await engine.close()


async def close(*engines: "Engine") -> None:
    """End the children."""
    for engine in engines:
        await engine.close()


class Engine:
    """A real engine child that is started again when it dies, or after so many files."""

    def __init__(self, kind: str, room: Path) -> None:
        self._kind = kind
        self._room = room
        self._child: Child | None = None
        self._files = 0

    async def load(self, path: Path) -> str:
        """What becomes of a build: ``refused``, ``an error``, ``works``, or ``died: ...``."""
        if self._child is None or self._files >= FILES_A_CHILD:
            await self.close()
            self._child = await Child.start(self._kind, STALL_S)
            self._files = 0
        self._files += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._try(self._child, path)
        except TimeoutError:
            await self.close()
            return f"died: was still busy after {PATIENCE_S:.0f} seconds"
        except ChildDied as death:
            await self.close()
            return f"died: {death}"

    async def _try(self, child: Child, path: Path) -> str:
        text = self._kind == "text"
        child.send(protocol.LoadText("it", str(path), 128, 1) if text else protocol.LoadImage("it", str(path), 1))
        reply = await answer(child)
        if isinstance(reply, protocol.Failed):
            return "refused" if reply.error == "Damaged" else "an error when loaded"
        child.send(_PROMPT)
        reply = await answer(child, _PROMPT.job)
        return "works" if isinstance(reply, protocol.Done) else "an error when it runs"

    def native(self) -> str:
        """The first native library of an engine that the child has in memory, ``""`` if there is none."""
        if self._child is None:
            return ""
        maps = Path(f"/proc/{self._child.pid}/maps").read_text(encoding="utf-8")
        return next((name for name in NATIVE if name in maps), "")

    async def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            await child.close()


async def answer(child: Child, job: int = protocol.LOADING) -> protocol.Reply:
    """The reply that ends the load, or a job."""
    while True:
        reply = await child.receive(job)
        if isinstance(reply, protocol.Loaded | protocol.Failed | protocol.Done):
            child.rest(job)
            return reply


_PROMPT = protocol.RunText(1, (("user", "Hi é 🙂"),), 128, 2, 0.0, 0.9, 40, 0.0, 1.1, 1)


if __name__ == "__main__":
    sys.exit(main())
