"""Pure functions from values to the lines on the screen. All text that comes back is safe to draw."""

from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len

from nanolocal.chat import media
from nanolocal.chat.amounts import format_bytes, most_credits, short_credits
from nanolocal.chat.decisions import was_told
from nanolocal.chat.messages import Answer, Attachment, Stopped, Usage
from nanolocal.chat.ports import EngineStatus, StoredMessage
from nanolocal.chat.routes import Build, Route, in_words
from nanolocal.chat.turn import Quote
from nanolocal.errors import NanolocalError, OutOfCredit
from nanolocal.safetext import safe_line

_LOW_MICRO = 10_000
_LOW_ANSWERS = 3
_LEAST_NOTE = 20
_SHOWN_IDLE_S = 60
_MINUTE_S = 100
OURSELVES = "nanolocal itself"
"""Who speaks where the program answers and no model runs."""
_ENDINGS = {
    Stopped.USER: "stopped, kept",
    Stopped.CRASH: "engine died, kept",
    Stopped.LENGTH: "length limit reached",
}


def count(number: int) -> str:
    """A token count: ``870``, ``1.2k``, ``33k``."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 10_000 else f"{number // 1000}k"


def tokens(number: int) -> str:
    """``1 token``, ``1.2k tokens``."""
    return f"{count(number)} {'token' if number == 1 else 'tokens'}"


def drawing(step: int, total: int, left_s: float | None, cost_micro: int) -> str:
    """``drawing, step 3 of 20 · 12 s left · 0.0004 cr so far``; what is not known yet is left out."""
    left = "" if left_s is None else f"{left_s:.0f} s left" if left_s < _MINUTE_S else f"{left_s / 60:.0f} min left"
    cost = f"{short_credits(cost_micro)} cr so far" if cost_micro else ""
    return " · ".join(part for part in (f"drawing, step {step} of {total}", left, cost) if part)


def speed(tokens_per_second: float) -> str:
    """``18.4 tok/s``, or nothing where there is no speed to tell."""
    return f"{tokens_per_second:.1f} tok/s" if tokens_per_second > 0 else ""


def day(timestamp: float) -> str:
    """A local date and time to the minute."""
    return datetime.fromtimestamp(timestamp).strftime("%Y-%m-%d %H:%M")


def token(attachment: Attachment, is_damaged: bool = False) -> str:
    """How an attached file is shown: ``[notes.txt 2 kB]``, ``[clip.wav 0:07]``."""
    state = "damaged, cannot be read" if is_damaged else media.length(attachment) or format_bytes(len(attachment.data))
    return f"[{safe_line(attachment.name)} {state}]"


def error_text(error: NanolocalError, has_prompt: bool = False) -> str:
    """What happened, then what to do next; ``has_prompt`` where the refused prompt is back in the box."""
    if isinstance(error, OutOfCredit):
        error = OutOfCredit(error.message, _out_of_credit(error, has_prompt))
    message = safe_line(error.message)
    hint = f" · {safe_line(error.hint)}" if error.hint else ""
    return f"! {message[:1].upper()}{message[1:]}{hint}"


def _out_of_credit(error: OutOfCredit, has_prompt: bool) -> str:
    """What one can do here about a lack of credit."""
    most = f"Enter sends it for an answer of at most {error.tokens} {'token' if error.tokens == 1 else 'tokens'}"
    more = f"/budget {error.budget} AMOUNT allows more, off lifts it" if error.budget else "/topup AMOUNT adds credit"
    return f"{most}; {more}" if error.tokens and has_prompt else more


def quote_line(quote: Quote, width: int) -> str:
    """What a prompt would cost at the most, whether that can be paid, and who would answer, in ``width`` cells."""
    parts = (f"up to {most_credits(quote.most_micro)} cr", quote.shortage, speaker(quote.route))
    return cut(" · ".join(part for part in parts if part), width)


def offer_line(verb: str, quote: Quote) -> str:
    """Who would do it, and for how much at the most."""
    return f"{build_name(quote.route.build)} would {verb}{_at_most(quote)}"


def pick_line(quote: Quote) -> str:
    """Who answers and why, and for how much at the most."""
    reasons = quote.route.reasons
    why = f" ({safe_line(reasons[0])})" if reasons else ""
    return f"{speaker(quote.route)} answers{why}{_at_most(quote)}"


def _at_most(quote: Quote) -> str:
    short = f", {quote.shortage}" if quote.shortage else ""
    return f" · at most {most_credits(quote.most_micro)} cr{short}"


def understood(route: Route) -> str:
    """What the prompt was taken for, and how surely: ``code 94%``."""
    return safe_line(f"{in_words(route.task)} {route.confidence:.0%}")


def build_name(build: Build) -> str:
    """The model's name with its quantization."""
    return safe_line(f"{build.name} {build.quantization}")


def speaker(route: Route) -> str:
    """Who answers: a build, or the program itself."""
    return OURSELVES if route.is_told else build_name(route.build)


def engine_row(status: EngineStatus) -> str:
    """What the model choice says about a build in memory."""
    idle = f" for {status.idle_s / 60:.0f} min" if status.idle_s >= _SHOWN_IDLE_S else ""
    return f"{format_bytes(status.memory)} in memory, {status.state}{idle}{', stays' if status.is_pinned else ''}"


def build_row(build: Build) -> str:
    """What the model choice says about a build."""
    kind = "pictures" if build.kind == "image" else f"{count(build.context_length)} context"
    small = ["starter, small"] if build.tiny else []
    aside = ["set aside"] if build.set_aside else []
    return " · ".join([safe_line(build.quantization), format_bytes(build.size_bytes), kind, *small, *aside])


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, the end replaced by an ellipsis."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) >= width:
        text = text[:-1]
    return f"{text.rstrip()}…" if width > 0 else ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the line under an answer tells."""

    build_id: str
    task: str
    usage: Usage
    tok_s: float
    cost_micro: int
    ending: Stopped | None = None
    verdict: str = ""
    note: str = ""

    @classmethod
    def of(cls, answer: Answer) -> "Receipt":
        """The receipt of an answer that has just finished."""
        route = answer.route
        rate = answer.timing.decode_tok_s
        name = OURSELVES if route.is_told else route.build.id
        return cls(name, route.task, answer.usage, rate, answer.cost_micro, answer.stopped)

    @classmethod
    def of_stored(cls, stored: StoredMessage) -> "Receipt":
        """The receipt of an answer read back from the vault."""
        ending = Stopped(stored.stopped) if stored.stopped in tuple(Stopped) else None
        rate, cost = stored.decode_tok_s, stored.cost_micro
        opinion = (stored.verdict or "", stored.note)
        name = OURSELVES if was_told(stored.route_json) else stored.build_id or "unknown build"
        return cls(name, stored.task or "", stored.usage, rate, cost, ending, *opinion)

    def line(self, width: int) -> str:
        """One line: build, task, tokens, speed, cost, how it ended where that matters, and what the user thinks of it.

        Where it is longer than ``width`` cells, speed, task and tokens leave in this order; the end of the user's note
        is cut.
        """
        amount = "" if self.usage.pixel_steps or self.build_id == OURSELVES else tokens(self.usage.completion_tokens)
        ending = _ENDINGS.get(self.ending, "") if self.ending else ""
        cost = f"{short_credits(self.cost_micro)} cr"
        rated = f"rated {self.verdict}" if self.verdict else ""
        parts = [self.build_id, in_words(self.task), amount, speed(self.tok_s), cost, ending, rated]
        note = f": {safe_line(self.note)}" if self.note else ""
        for dropped in ((), (3,), (3, 1), (3, 1, 2)):
            line = " · ".join(safe_line(part) for n, part in enumerate(parts) if part and n not in dropped)
            if cell_len(line) + min(cell_len(note), _LEAST_NOTE) <= width:
                break
        return cut(line + note, width)


@dataclass(frozen=True, slots=True)
class Status:
    """What the status line tells. ``chosen`` says who chose the model: ``auto fast``, ``pinned`` and the like.

    ``most_micro`` is the most that the newest answer could cost.
    """

    model: str = ""
    why: str = ""
    chosen: str = "auto"
    tok_s: float = 0.0
    context_used: int = 0
    context_total: int = 0
    cost_micro: int = 0
    balance_micro: int | None = None
    most_micro: int = 0

    @property
    def is_low(self) -> bool:
        """Whether the balance is under a cent, or pays for fewer than three more such answers for sure."""
        least = max(_LOW_MICRO, _LOW_ANSWERS * self.most_micro)
        return self.balance_micro is not None and self.balance_micro < least

    def line(self, width: int) -> str:
        """``auto -> BUILD · code 94% · 18.4 tok/s`` and so on in at most ``width`` cells.

        Cost, context and speed leave in this order, then what the prompt was taken for.

        The cost outlasts the context while an answer grows, which is while there is no speed to tell yet.
        """
        facts = self._facts()
        model = f" -> {safe_line(self.model)}" if self.model else ""
        head = cut(f"{safe_line(self.chosen)}{model}", max(12, width * 3 // 5))
        why = f" · {safe_line(self.why)}" if self.why else ""
        first = "cost" if self.tok_s else "context"
        for dropped in ((), (first,), ("cost", "context"), ("cost", "context", "speed")):
            tail = "".join(f" · {text}" for name, text in facts if name not in dropped)
            if cell_len(head + why + tail) <= width:
                return f"{head}{why}{tail}"
        return cut(f"{head}{tail}", width)

    @property
    def balance(self) -> str:
        """``bal 97.10``, or that it is low; nothing where it is not known yet."""
        if self.balance_micro is None:
            return ""
        return f"{'low ' if self.is_low else ''}bal {short_credits(self.balance_micro)}"

    def _facts(self) -> list[tuple[str, str]]:
        context = (
            f"{count(self.context_used)}/{count(self.context_total)} ctx"
            if self.context_used and self.context_total
            else ""
        )
        cost = f"{short_credits(self.cost_micro)} cr" if self.cost_micro else ""
        facts = [("speed", speed(self.tok_s)), ("context", context), ("cost", cost), ("balance", self.balance)]
        return [(name, text) for name, text in facts if text]
