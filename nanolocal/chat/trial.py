"""A trial of one build: how fast it is here, and what the machine draws meanwhile. Nothing is stored or charged."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass

from nanolocal.chat import jobs
from nanolocal.chat.events import EngineDone, ImageStep
from nanolocal.chat.messages import Message, Role, Wishes
from nanolocal.chat.ports import Engines, ImageJob, Meter, Router, RouteRequest, TextJob
from nanolocal.chat.routes import Build, Route
from nanolocal.errors import EngineFailed

_ANSWER_TOKENS = 100
_MOST_SIDE, _FEWEST_STEPS, _PIXEL_STEPS = 256, 4, 1_000_000
_DRAWN = "a red circle on a white ground"
_ASKED = (
    "Every town has a place where people meet without an appointment. In some it is the market, where the same "
    "faces stand behind the same tables each week and know who buys apples and who only looks. In others it is a "
    "bench by the river, a library, or the one shop that is open on Sunday morning. Such places are seldom planned. "
    "They come about because somebody sat down, somebody else asked a question, and both came back the next day. "
    "When they close, nobody can say exactly what is missing, but conversations become shorter, and news travels "
    "more slowly than before. A council that wants to keep them has to look closely, because what makes them work "
    "is rarely written down: shade in summer, a roof in the rain, a reason to stay for ten minutes longer. Write a "
    "letter to such a council. Describe one place of this kind, tell what happens there in the course of a day, and "
    "say what should be done to keep it."
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured, in whole nanoseconds and milliwatts, so that prices follow from it exactly.

    A part that did not happen is 0: ``prompt_ns`` and ``completion_ns`` for one token, ``picture_ns`` for a million
    pixel-steps. ``milliwatts`` is ``None`` where this machine has no meter; ``power_source`` names the meter.
    """

    load_ns: int
    prompt_ns: int
    completion_ns: int
    picture_ns: int
    milliwatts: int | None
    power_source: str
    what: str


async def run(router: Router, engines: Engines, meter: Meter, build: Build) -> Trial:
    """Load the build and let it answer once.

    Raises ``NoBuildFits`` when it does not fit this machine, ``EngineFailed`` when it fails or says too little.
    """
    is_text = jobs.is_text(build)
    wishes = Wishes(model=build.id, picture=not is_text)
    route = router.pick(RouteRequest(_ASKED if is_text else _DRAWN, (), 0, wishes))
    job = _job(route)
    began = warm_at = time.monotonic()
    reading = meter.start()
    done: EngineDone | None = None
    async with aclosing(engines.run(build, job, asyncio.Event())) as events:
        async for event in events:
            match event:
                case ImageStep(1):
                    warm_at = time.monotonic()
                case EngineDone():
                    done = event
    ended = time.monotonic()
    if done is None:
        raise EngineFailed(f"{build.id} ended without an answer", "try again")
    energy = reading.so_far(done.timing.cpu_s)
    usage, timing = done.usage, done.timing
    drawn_s = _seconds_per_million(job, ended - warm_at)
    if not drawn_s and not timing.decode_tok_s:
        raise EngineFailed(
            f"{build.id} said too little to be measured", "set its price yourself: credits prices --help"
        )
    return Trial(
        load_ns=round(timing.load_s * 1e9),
        prompt_ns=_per_token(timing.prompt_tok_s),
        completion_ns=_per_token(timing.decode_tok_s),
        picture_ns=round(drawn_s * 1e9),
        milliwatts=round(energy.joules / (ended - began) * 1000) if energy.is_measured and energy.joules > 0 else None,
        power_source=energy.source,
        what=_described(job, usage.prompt_tokens, usage.completion_tokens),
    )


def picture_of(build: Build) -> ImageJob:
    """A picture as the build draws by itself."""
    return jobs.image_job(_DRAWN, build, Wishes(seed=1))


def _job(route: Route) -> TextJob | ImageJob:
    build = route.build
    if jobs.is_text(build):
        return jobs.text_job(
            (Message(Role.USER, _fitting(route.n_ctx)),), route, Wishes(max_tokens=_ANSWER_TOKENS, seed=1)
        )
    width, height = (min(int(build.defaults.get(name, _MOST_SIDE)), _MOST_SIDE) for name in ("width", "height"))
    most = max(_FEWEST_STEPS, _PIXEL_STEPS // (width * height))
    steps = max(2, min(int(build.defaults.get("steps", _FEWEST_STEPS)), most))
    return jobs.image_job(_DRAWN, build, Wishes(width=width, height=height, steps=steps, seed=1))


def _fitting(n_ctx: int) -> str:
    """The prompt, cut to what surely leaves room for the answer: a token is at least a byte."""
    return _ASKED[: max(40, n_ctx - _ANSWER_TOKENS - 32)]


def _seconds_per_million(job: TextJob | ImageJob, seconds: float) -> float:
    """Of pixel-steps, from the end of the first step on: that one also warms up what later pictures find warm."""
    if not isinstance(job, ImageJob):
        return 0.0
    return seconds * 1e6 / (job.width * job.height * max(1, job.steps - 1))


def _described(job: TextJob | ImageJob, prompt_tokens: int, completion_tokens: int) -> str:
    if isinstance(job, ImageJob):
        return f"a picture of {job.width}x{job.height} in {job.steps} steps"
    return f"{prompt_tokens} prompt and {completion_tokens} answer tokens"


def _per_token(tokens_per_second: float) -> int:
    return round(1e9 / tokens_per_second) if tokens_per_second > 0 else 0
