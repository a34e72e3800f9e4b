#!/usr/bin/env python3
"""Tries to make the router pick wrongly: any machine, library, prompt, history and experience; whole conversations.

    scripts/stress_router.py picks --cases 10000
    scripts/stress_router.py conversations --conversations 1000
    scripts/stress_router.py speed --builds 50

Each prints its seed and what it found, and ends with 1 when anything was wrong. The tests do a small part of the same.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanolocal.chat.messages import Attachment, Usage, Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind, Route, Speed, Tally
from nanolocal.errors import NanolocalError, NoBuildFits, UsageError
from nanolocal.library.retention import SMALL
from nanolocal.routing import case
from nanolocal.routing.gates import MIN_ANSWER_TOKENS
from nanolocal.routing.router import Rules, TaskRouter
from nanolocal.routing.surroundings import Surroundings

GIB = 2**30
LOOKED_BACK = 3
"""How many earlier answers a turn tells the router of."""
PROMPTS: Mapping[str, Sequence[str]] = {
    "chat": ("hello there", "Why is the sky dark at night?", "what do you think of trains", "?", "\u202e\x00 odd"),
    "code": ("Write a python function that sorts a list", "```c\nint main() { return 0; }\n```\nwhat does it do"),
    "math": ("12 * 7 + 3", "Solve the equation 3x + 4 = 19", "How many apples are left if 3 of 8 are eaten?"),
    "writing": ("Tell me a short story about a fox.", "rewrite this politely: go away"),
    "translate": ("Translate 'good morning' to French", "say thank you in german"),
    "summarize": ("Summarize this text: the council met and went home.",),
    "extract": ("From the passage, list all dates. It was 3 May.",),
    "data": ("Which column of this csv has the largest mean?\na,b\n1,2",),
    "roleplay": ("Pretend you are a pirate", "You are a librarian in 1920. Speak."),
    "image_gen": ("Draw a red circle above a blue square", "please paint me a sunset"),
}
_NAMES = ("auto", "auto:fast", "auto-model-premium", "auto:thinking", "auto:fast:cheap", "auto:online", "nobody")


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=6)
    parts = parser.add_subparsers(required=True)
    picks = parts.add_parser("picks", help="random machines, libraries, prompts and surroundings")
    picks.add_argument("--cases", type=int, default=10_000)
    picks.set_defaults(run=run_picks)
    conversations = parts.add_parser("conversations", help="no more changes of build than of task")
    conversations.add_argument("--conversations", type=int, default=1000)
    conversations.set_defaults(run=run_conversations)
    speed = parts.add_parser("speed", help="how long one decision takes")
    speed.add_argument("--builds", type=int, default=50)
    speed.add_argument("--picks", type=int, default=2000)
    speed.set_defaults(run=run_speed)
    args = parser.parse_args()
    return int(args.run(args))


def run_picks(args: argparse.Namespace) -> int:
    """Every case is drawn from a seed of its own."""
    outcomes: Counter[str] = Counter()
    wrong = list[str]()
    for number in range(args.cases):
        seed = args.seed * 1_000_000 + number
        outcome, found = tried(random.Random(seed))
        outcomes[outcome] += 1
        wrong += [f"seed {seed}: {what}" for what in found]
    print(*wrong[:50], *(f"{what:14} {times:7}" for what, times in sorted(outcomes.items())), sep="\n")
    print(f"seed {args.seed}: {args.cases} cases, {len(wrong)} wrong")
    return int(bool(wrong))


def run_conversations(args: argparse.Namespace) -> int:
    """Half of them keep to one task, half go from task to task as chance has it."""
    wrong, swaps, changes = list[str](), 0, 0
    for number in range(args.conversations):
        seed = args.seed * 1_000_000 + number
        chance = random.Random(seed)
        routes = conversation(chance, *script(chance, is_mixed=bool(number % 2)))
        swapped, changed = moves(route.build.id for route in routes), moves(str(route.task) for route in routes)
        swaps, changes = swaps + swapped, changes + changed
        if swapped > changed:
            wrong.append(f"seed {seed}: {swapped} changes of build, {changed} of task")
    print(*wrong[:50], f"{changes} changes of task, {swaps} of build", sep="\n")
    print(f"seed {args.seed}: {args.conversations} conversations, {len(wrong)} wrong")
    return int(bool(wrong))


def run_speed(args: argparse.Namespace) -> int:
    """Milliseconds of one decision among builds that all fit: on the clock, and of processor time alone."""
    chance = random.Random(args.seed)
    builds = [_ready(build(chance, n, Kind.TEXT if n else Kind.IMAGE), chance) for n in range(args.builds)]
    around = replace(surroundings(chance, builds), memory_budget=1024 * GIB)
    router = TaskRouter(lambda: builds, lambda: around)
    prompts = [text for texts in PROMPTS.values() for text in texts]
    clocked, worked = list[float](), list[float]()
    for _ in range(args.picks):
        asked = RouteRequest(chance.choice(prompts), (), chance.choice((0, 8000)), Wishes())
        begun, begun_working = time.perf_counter(), time.thread_time()
        router.pick(asked)
        worked.append(time.thread_time() - begun_working)
        clocked.append(time.perf_counter() - begun)
    for what, took in (("on the clock", clocked), ("of processor time", worked)):
        cuts = [1000 * cut for cut in statistics.quantiles(took, n=100)]
        print(f"{args.builds} builds: p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, p99 {cuts[98]:.2f} ms {what}")
    return 0


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one decision rests on."""

    builds: tuple[Build, ...]
    around: Surroundings
    rules: Rules
    asked: RouteRequest


def tried(chance: random.Random) -> tuple[str, list[str]]:
    """What came of one decision, and what is wrong with it."""
    there = world(chance)
    try:
        route = _pick(there, there.builds)
    except NanolocalError as refused:
        return type(refused).__name__, [] if isinstance(refused, NoBuildFits | UsageError) else [str(refused)]
    except Exception as fault:
        return "crash", [f"{type(fault).__name__}: {fault}"]
    again, backwards = _pick(there, there.builds), _pick(there, there.builds[::-1])
    wrong = list(faults(there, route))
    if again != route:
        wrong.append("another pick for the same input")
    if backwards.build != route.build:
        wrong.append("another pick when the builds are listed backwards")
    stored = json.loads(json.dumps(route.case))
    if case.from_record(stored).ranking()[0].build_id != route.build.id:
        wrong.append("the stored decision comes out otherwise")
    return "picked", wrong


def _pick(there: World, builds: Sequence[Build]) -> Route:
    return TaskRouter(lambda: builds, lambda: there.around, there.rules).pick(there.asked)


def faults(there: World, route: Route) -> Iterator[str]:
    """Everything that ``route`` picked against; reckoned here, not by the gates."""
    picked, asked = route.build, there.asked
    name = (asked.wishes.model or "").removesuffix(":fast").removesuffix(":thinking")
    named = any(build.answers_to(name) for build in there.builds)
    if named and not picked.answers_to(name):
        yield "it is not the build that was asked for"
    if (picked.kind is Kind.IMAGE) is not (route.task in ("image_gen", "image_edit")):
        yield f"a build for {picked.kind} answers {route.task}"
    if picked.kind is Kind.EMBEDDING:
        yield "an embedding model answers"
    if picked.size_bytes + picked.kv_bytes_per_token * route.n_ctx > there.around.memory_budget:
        yield "it does not fit into memory"
    if picked.context_length and route.n_ctx > picked.context_length:
        yield "its context is longer than it was trained on"
    if picked.kind is Kind.TEXT and len(asked.prompt.encode("utf-8", "replace")) // 8 > route.n_ctx - MIN_ANSWER_TOKENS:
        yield "the prompt cannot fit into its context"
    has_picture = any(item.media_type.startswith("image/") for item in asked.attachments)
    if has_picture and picked.kind is Kind.TEXT and picked.projector is None:
        yield "it cannot look at the picture"
    if picked.needs or picked.set_aside or picked.id in asked.not_again:
        yield "it cannot run here"
    denied = any(fnmatchcase(name.lower(), p) for p in there.rules.deny for name in (picked.id, picked.name))
    if not named and (denied or picked.licence.lower() in there.rules.deny_licences):
        yield "the settings deny it"
    if str(asked.wishes.model).endswith(":thinking") and "reasoning" not in picked.purposes:
        yield "it does not reason"
    accounted = {item.build_id for item in route.rejected} | {
        terms.build_id for terms in case.from_record(route.case).ranking()
    }
    if len(there.builds) <= 20 and not named and accounted != {build.id for build in there.builds}:
        yield "a build was neither ranked nor rejected"


def world(chance: random.Random) -> World:
    """A machine, its library, what was seen there, and a turn."""
    builds = tuple(build(chance, n) for n in range(chance.choice((0, 1, 2, 5, 12, 12, 30))))
    some = [each.id for each in builds if chance.random() < 0.1]
    rules = Rules(
        chance.choice(("quality", "balanced", "fast", "cheap")),
        tuple(chance.choice(("family-1*", "*:q2_k", "nobody*", "*_k_m")) for _ in range(chance.choice((0, 0, 1, 2)))),
        tuple(chance.choice(("mit", "llama3.1", "")) for _ in range(chance.choice((0, 0, 0, 1)))),
    )
    longer = " word" * chance.choice((0, 0, 0, 0, 300, 9000, 90000))
    prompt = chance.choice(PROMPTS[chance.choice(list(PROMPTS))]) + longer
    kinds = [chance.choice(("image/png", "text/plain")) for _ in range(chance.choice((0, 0, 0, 0, 0, 1)))]
    answered = [chance.choice(builds).id for _ in range(chance.randrange(6))] if builds else []
    return World(
        builds,
        surroundings(chance, builds),
        rules,
        RouteRequest(
            prompt=prompt,
            attachments=tuple(Attachment("file", kind, b"data") for kind in kinds),
            history_bytes=chance.choice((0, 0, 500, 40_000, 4_000_000)),
            wishes=Wishes(
                model=_name(chance, builds),
                prefer=chance.choice((None, None, "fast", "quality")),
                picture=chance.random() < 0.05,
            ),
            current_build_id=answered[-1] if answered else None,
            earlier=tuple(chance.choice(PROMPTS["chat"]) for _ in answered[-LOOKED_BACK:]),
            earlier_tasks=tuple(chance.choice(list(PROMPTS)) for _ in answered[-LOOKED_BACK:]),
            earlier_builds=tuple(answered[-LOOKED_BACK:]),
            not_again=dict.fromkeys(some, "it ended at once"),
        ),
    )


def build(chance: random.Random, number: int, kind: Kind | None = None) -> Build:
    """A build that could exist, from a toy to more than any machine holds."""
    kind = kind or chance.choices((Kind.TEXT, Kind.IMAGE, Kind.EMBEDDING), (8, 2, 1))[0]
    parameters = int(10 ** chance.uniform(6, 11.6))
    quantization = chance.choice((*SMALL, "nf4", ""))
    tasks = chance.sample(["*", "code", "math", "math/logic", "chat", "image_gen"], chance.randrange(4))
    learnt = {task: chance.random() for task in tasks}
    return Build(
        id=f"family-{number}:{quantization or 'x'}",
        name=f"Family-{number}",
        kind=kind,
        path=Path(f"{number}.gguf"),
        quantization=quantization,
        size_bytes=int(parameters * chance.uniform(0.2, 2.1)),
        sha256=f"{number:064x}",
        parameters=chance.choice((parameters, parameters, 0)),
        context_length=chance.choice((0, 256, 2048, 8192, 131_072, 10**6)) if kind is Kind.TEXT else 0,
        kv_bytes_per_token=chance.choice((0, 1024, 131_072)) if kind is Kind.TEXT else 0,
        licence=chance.choice(("mit", "llama3.1", "apache-2.0", "")),
        quality=learnt if chance.random() < 0.3 else {},
        projector=Path("eyes.gguf") if chance.random() < 0.2 else None,
        aliases=(f"alias-{number}:latest",) if chance.random() < 0.2 else (),
        needs="a newer engine" if chance.random() < 0.05 else "",
        set_aside="it failed twice" if chance.random() < 0.05 else "",
        purposes=("reasoning",) if chance.random() < 0.2 else (),
        strengths={task: gain - 0.5 for task, gain in learnt.items()} if chance.random() < 0.5 else {},
    )


def surroundings(chance: random.Random, builds: Sequence[Build]) -> Surroundings:
    """Memory, what is loaded, and what was measured."""
    tasks = ("*", "chat", "code", "math", "math/logic", "writing")
    scale = chance.choice((0, 1, 40, 10**6))

    def cost(of: Build, usage: Usage) -> int:
        return scale * (usage.prompt_tokens + 4 * usage.completion_tokens) * max(1, of.size_bytes // GIB)

    return Surroundings(
        memory_budget=int(chance.choice((0.0, 0.5, 4, 16, 64, 1024, 1024)) * GIB),
        bandwidth=10 ** chance.uniform(9, 12),
        resident=[each.id for each in builds if chance.random() < 0.2],
        speeds={each.sha256: _speed(chance) for each in builds if chance.random() < 0.4},
        tallies={
            (each.sha256, task): Tally(tries * chance.random(), tries)
            for each in builds
            for task in tasks
            if (tries := chance.choice((0.0, 0.3, 20.0, 400.0)))
        },
        balance=chance.choice((0, 5, 100_000, 10**9)),
        cost=None if chance.random() < 0.3 else cost,
    )


def _speed(chance: random.Random) -> Speed:
    load_s, read_tok_s, write_tok_s = (chance.choice((0.0, 10 ** chance.uniform(-2, 4))) for _ in range(3))
    return Speed(load_s, read_tok_s, write_tok_s, 3)


def _name(chance: random.Random, builds: Sequence[Build]) -> str | None:
    if chance.random() < 0.7:
        return None
    if builds and chance.random() < 0.6:
        of = chance.choice(builds)
        return chance.choice((of.id, of.id.partition(":")[0], f"{of.id}:fast", f"{of.name.lower()}:thinking"))
    return chance.choice(_NAMES)


def script(chance: random.Random, *, is_mixed: bool) -> tuple[list[Build], list[str]]:
    """Builds that all fit, each good at something else, and what is said to them."""
    builds = [build(chance, n, Kind.TEXT if n else Kind.IMAGE) for n in range(8)]
    tasks = chance.choices(list(PROMPTS), k=10) if is_mixed else [chance.choice(list(PROMPTS))] * 10
    if is_mixed and chance.random() < 0.5:
        tasks = [task for task in tasks[:5] for _ in range(chance.randrange(1, 4))]
    return builds, [chance.choice(PROMPTS[task]) for task in tasks]


def conversation(chance: random.Random, builds: Sequence[Build], prompts: Sequence[str]) -> list[Route]:
    """The decisions of a conversation, each told of the ones before as a turn tells it."""
    ready = [_ready(each, chance) for each in builds]
    routes = list[Route]()
    for prompt in prompts:
        before = routes[-LOOKED_BACK:]
        asked = RouteRequest(
            prompt=prompt,
            attachments=(),
            history_bytes=600 * len(routes),
            wishes=Wishes(),
            current_build_id=routes[-1].build.id if routes else None,
            earlier=tuple(prompts[: len(routes)][-LOOKED_BACK:]),
            earlier_tasks=tuple(str(route.task) for route in before),
            earlier_builds=tuple(route.build.id for route in before),
        )
        around = Surroundings(1024 * GIB, resident=[route.build.id for route in routes[-1:]])
        routes.append(TaskRouter(lambda: ready, lambda around=around: around).pick(asked))  # type: ignore[misc]
    return routes


def _ready(of: Build, chance: random.Random) -> Build:
    """The same, small enough and able to run; good at some things and poor at others."""
    quality = {task: chance.random() for task in (*PROMPTS, "*")}
    return replace(
        of, size_bytes=GIB, context_length=131_072, kv_bytes_per_token=0, needs="", set_aside="", quality=quality
    )


def moves(values: Iterator[str]) -> int:
    """How often a value differs from the one before."""
    return sum(before != after for before, after in pairwise(values))


if __name__ == "__main__":
    sys.exit(main())
