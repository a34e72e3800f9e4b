#!/usr/bin/env python
"""How well text builds predict held-out text, and how many of 200 fixed prompts they answer rightly, side by side.

    scripts/eval_starter_text.py [BUILD.gguf ...] [--against FILE] [--data DIR] [--only prompts] [--json FILE] [--all]

Without a build those under ``models/`` are measured; ``--against`` also takes what ``--json`` wrote before, and judges
its answers anew. Perplexity is that of the file itself through llama.cpp, on records that no run trains on (one in
fifty, by hash), for each source in ``--data``; bits per byte compare vocabularies. Of conversations only the answers
count. The prompts, in ``scripts/starter_prompts``, go through the whole application: a vault of their own, the chat,
the engine's process; greedy, once with the helpers and once without. What an answer has to be is checked by program;
every answer has to end by itself too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

if TYPE_CHECKING:
    from llama_cpp import Llama
    from starter_text.prompts import Prompt

    from nanolocal.bootstrap import Session

MOST_TOKENS, MOST_CHARACTERS, CONTEXT = 20_000, 2000, 2048
Pieces = list[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Held:
    """What a build makes of a source: tokens and bytes that count, and the negative log-likelihood of all, in nats."""

    tokens: int
    bytes: int
    nats: float

    @property
    def perplexity(self) -> float:
        """Per token of the build's own vocabulary."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """The same for every vocabulary."""
        return self.nats / math.log(2) / self.bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt's kind and turns, what was answered with or without helpers, by whom, and what does not hold of it."""

    kind: str
    asked: str
    helpers: bool
    text: str
    told: bool
    ended: bool
    problems: tuple[str, ...]


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="perplexity on held-out text, and 200 prompts with checkable answers")
    parser.add_argument(
        "builds", type=Path, nargs="*", metavar="BUILD", help="GGUF files; by default the starter builds"
    )
    parser.add_argument(
        "--against", type=Path, action="append", default=[], metavar="FILE", help="an earlier build, or its --json"
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared/data/text", help="folder of NAME.jsonl.xz files"
    )
    parser.add_argument("--only", choices=("perplexity", "prompts"), help="one of the two")
    parser.add_argument("--kind", action="append", default=[], metavar="KIND", help="only prompts of this kind")
    parser.add_argument("--tokens", type=int, default=MOST_TOKENS, metavar="N", help="at most so many of a source")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and answers there")
    parser.add_argument("--all", action="store_true", help="print every answer, not the tables alone")
    chosen = parser.parse_args(words)
    chosen.builds = chosen.builds or sorted((ROOT / "models").glob("nanolocal-starter-text*/*.gguf"))
    for build in (*chosen.builds, *chosen.against):
        if not build.is_file():
            parser.error(f"there is no file {build}")
    return chosen


def as_pieces(record: dict[str, object]) -> Pieces:  # noqa: PLR0911 - one for each form
    """The text of a record in pieces, each with whether it counts; empty for what is no text."""
    from starter_text.data import pieces

    def said(*turns: object) -> Pieces:
        texts = [str(turn) for turn in turns]
        return list(pieces(list(zip(texts[::2], texts[1::2], strict=False))))

    match record:
        case {"text": str(text)}:
            return [(text, True)]
        case {"messages": list(messages)}:
            return said(*(message["content"] for message in messages))
        case {"q": str(question), "a": str(answer)}:
            return said(question, answer)
        case {"hard": str(hard), "simple": str(simple)}:
            return said(f"Say this more simply: {hard}", simple)
        case {"turns": list(turns)}:
            return [("\n".join(str(turn) for turn in turns), True)]
        case {"words": list(words), "def": str(meaning)}:
            return [(f"{', '.join(str(word) for word in words)}: {meaning}", True)]
    return []


def cut(parts: Pieces, most: int = MOST_CHARACTERS) -> Pieces:
    """The pieces up to so many characters."""
    kept: Pieces = []
    for text, counts in parts:
        text = text[: max(0, most)]
        most -= len(text)
        if text:
            kept.append((text, counts))
    return kept


def sources(data: Path) -> list[str]:
    """The names of the sources that are text."""
    return sorted(
        path.name.removesuffix(".jsonl.xz") for path in data.glob("*.jsonl.xz") if not path.name.startswith("facts_")
    )


def held_out(data: Path, name: str) -> list[Pieces]:
    """The held-out records of a source that hold something that counts."""
    from starter_text.facts import read

    found = [cut(as_pieces(record)) for record in read(data, name, held_out=True)]
    return [parts for parts in found if any(counts for _, counts in parts)]


class Meter:
    """A build opened to score text with."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self._llama: Llama = llama_cpp.Llama(
            str(path), n_ctx=CONTEXT, n_batch=512, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False
        )
        between = self._llama.tokenize(b"<|endoftext|>", add_bos=False, special=True)
        self._begin = between if len(between) == 1 else [self._llama.token_bos()]

    def score(self, parts: Pieces) -> Held:
        """One record, as the text after another one."""
        import numpy as np

        ids, counted, size = list(self._begin), [False], 0
        for text, counts in parts:
            tokens = self._llama.tokenize(text.encode(), add_bos=False, special=True)
            ids += tokens
            counted += [counts] * len(tokens)
            size += len(text.removesuffix("<|im_end|>").encode()) * counts
        ids, counted = ids[:CONTEXT], counted[:CONTEXT]
        self._llama.reset()
        self._llama.eval(ids)
        logits = np.asarray(self._llama.scores[: len(ids) - 1], dtype=np.float64)
        top = logits.max(axis=1)
        logs = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        nats = logs - logits[np.arange(len(ids) - 1), ids[1:]]
        return Held(sum(counted[1:]), size, float(nats[np.array(counted[1:])].sum()))

    def measure(self, records: Sequence[Pieces], most: int) -> Held:
        """Records in a row, until so many tokens were scored."""
        tokens = size = 0
        nats = 0.0
        for parts in records:
            if tokens >= most:
                break
            one = self.score(parts)
            tokens, size, nats = tokens + one.tokens, size + one.bytes, nats + one.nats
        return Held(tokens, size, nats)

    def close(self) -> None:
        """Give its memory back."""
        self._llama.close()


def perplexities(builds: Sequence[Path], data: Path, most: int) -> dict[str, list[Held]]:
    """For each source what each build makes of it."""
    found: dict[str, list[Held]] = {}
    names = sources(data)
    meters = [Meter(build) for build in builds] if names else []
    for name in names:
        if records := held_out(data, name):
            found[name] = [meter.measure(records, most) for meter in meters]
            print(".", end="", file=sys.stderr, flush=True)
    for meter in meters:
        meter.close()
    return found


async def answers(session: Session, model: str, prompts: Sequence[Prompt], helpers: bool) -> list[Answered]:
    """The last answer to each prompt, greedy."""
    from starter_text.judging import failed

    from nanolocal.chat.events import Finished
    from nanolocal.chat.messages import Stopped, TurnRequest, Wishes

    wishes = Wishes(model=model, temperature=0.0, seed=1, max_tokens=400, helpers=helpers)
    found = []
    for prompt in prompts:
        chat_id, answer = None, None
        for turn in prompt.turns:
            async with aclosing(
                session.chat.turn(TurnRequest(turn, wishes=wishes, chat_id=chat_id), asyncio.Event())
            ) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        answer, chat_id = event.answer, event.answer.chat_id
        assert answer is not None
        ended = answer.stopped is Stopped.END
        problems = tuple(failed(prompt, answer.text, ended))
        asked = " >> ".join(prompt.turns)
        found.append(Answered(prompt.kind, asked, helpers, answer.text, answer.route.is_told, ended, problems))
    return found


async def ask_all(build: Path, home: Path, prompts: Sequence[Prompt]) -> list[Answered]:
    """All prompts to a build in a new home, with helpers and without."""
    from nanolocal import bootstrap
    from nanolocal.paths import Paths

    session = bootstrap.open_session(Paths.choose(str(home)), None, tells_licences=False)
    try:
        model = session.library.adopt(build.resolve()).id
        return [*await answers(session, model, prompts, True), *await answers(session, model, prompts, False)]
    finally:
        await session.close(keeps=False)


@dataclass(slots=True)
class Column:
    """What was found out of one build."""

    name: str
    held: dict[str, Held]
    answers: list[Answered]


def earlier(path: Path) -> list[Column]:
    """The builds of a file that `--json` wrote; their answers are judged by the checks of today."""
    from starter_text.judging import failed
    from starter_text.prompts import prompts

    known = {" >> ".join(prompt.turns): prompt for prompt in prompts()}
    columns = []
    for row in json.loads(path.read_text(encoding="utf-8"))["builds"]:
        held = {name: Held(one["tokens"], one["bytes"], one["nats"]) for name, one in row["held_out"].items()}
        answered = [
            Answered(one["kind"], one["asked"], one["helpers"], one["answer"], one["told"], one["ended"],
                     tuple(failed(known[one["asked"]], one["answer"], one["ended"])))
            for one in row["prompts"] if one["asked"] in known
        ]  # fmt: skip
        columns.append(Column(row["name"], held, answered))
    return columns


def label(build: Path) -> str:
    """A short name for the head of a column."""
    return build.stem.removeprefix("nanolocal-starter-text-")


def rows(names: Sequence[str], lines: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    """A table."""
    wide = max(14, *(len(name) + 2 for name in names))
    yield f"{'':28}" + "".join(f"{name:>{wide}}" for name in names)
    for name, cells in lines:
        yield f"{name:28}" + "".join(f"{cell:>{wide}}" for cell in cells)


def held_rows(columns: Sequence[Column]) -> Iterator[tuple[str, list[str]]]:
    """A line for each source: bits per byte, and perplexity per token."""
    for source in dict.fromkeys(source for column in columns for source in column.held):
        found = [column.held.get(source) for column in columns]
        yield source, [f"{one.bits_per_byte:.3f} ({one.perplexity:.1f})" if one else "-" for one in found]


def right(answered: Sequence[Answered], helpers: bool, kind: str = "") -> str:
    """Right answers of those asked."""
    asked = [one for one in answered if one.helpers == helpers and (not kind or one.kind == kind)]
    return f"{sum(not one.problems for one in asked)}/{len(asked)}"


def prompt_rows(columns: Sequence[Column], helpers: bool) -> Iterator[tuple[str, list[str]]]:
    """A line for each kind, and all."""
    for kind in dict.fromkeys(one.kind for column in columns for one in column.answers):
        yield kind, [right(column.answers, helpers, kind) for column in columns]
    yield "all", [right(column.answers, helpers) for column in columns]


def as_table(columns: Sequence[Column]) -> dict[str, object]:
    """Everything, for a program."""
    return {
        "builds": [
            {
                "name": column.name,
                "held_out": {
                    source: {
                        **asdict(one),
                        "perplexity": round(one.perplexity, 3),
                        "bits_per_byte": round(one.bits_per_byte, 4),
                    }
                    for source, one in column.held.items()
                },
                "prompts": [
                    {"kind": one.kind, "asked": one.asked, "helpers": one.helpers, "told": one.told, "ended": one.ended,
                     "answer": one.text, "fails": list(one.problems)} for one in column.answers
                ],
            }
            for column in columns
        ]
    }  # fmt: skip


def show(columns: Sequence[Column], every_answer: bool) -> None:
    """Print the tables."""
    names = [column.name for column in columns]
    if any(column.held for column in columns):
        print("\nbits per byte (perplexity per token) of held-out text")
        print("\n".join(rows(names, held_rows(columns))))
    for helpers in (True, False) if any(column.answers for column in columns) else ():
        print(f"\nprompts answered rightly, {'with helpers' if helpers else 'the model alone'}")
        print("\n".join(rows(names, prompt_rows(columns, helpers))))
    for column in columns if every_answer else ():
        for one in column.answers:
            mark = "right" if not one.problems else "WRONG (" + "; ".join(one.problems) + ")"
            how = f"{column.name} {'with' if one.helpers else 'no'} helpers, {one.kind}"
            print(f"{how}: {one.asked!r} -> {one.text!r} {mark}")


def main(words: list[str] | None = None) -> int:
    """Measure and print."""
    chosen = arguments(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from starter_text.prompts import prompts

    before = [column for path in chosen.against if path.suffix == ".json" for column in earlier(path)]
    old = [path for path in chosen.against if path.suffix != ".json"]
    builds = [*old, *chosen.builds]
    columns = [Column(("first " if build in old else "") + label(build), {}, []) for build in builds]
    if chosen.only != "prompts":
        if not sources(chosen.data):
            print(f"no held-out text: {chosen.data} holds no NAME.jsonl.xz (--data DIR); only the prompts are asked")
        for source, found in perplexities(builds, chosen.data, chosen.tokens).items():
            for column, one in zip(columns, found, strict=True):
                column.held[source] = one
    if chosen.only != "perplexity":
        wanted = [one for one in prompts() if not chosen.kind or one.kind in chosen.kind]
        for build, column in zip(builds, columns, strict=True):
            with tempfile.TemporaryDirectory() as home:
                column.answers = asyncio.run(ask_all(build, Path(home), wanted))
    columns = [*before, *columns]
    show(columns, chosen.all)
    if chosen.json:
        chosen.json.write_text(json.dumps(as_table(columns), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
