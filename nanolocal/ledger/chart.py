"""A bar chart of what was spent, for a terminal and as SVG, from one shape of data. Pure."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from nanolocal.chat.amounts import format_credits
from nanolocal.ledger.usage import week_of

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_MOST_BARS = 62
_ROWS = 17
# Both have a contrast of more than 3 (bars) and 4.5 (text) on white as well as on black.
_TEXT, _BAR = "#767676", "#2f81c7"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 800, 400, 90, 50, 60


@dataclass(frozen=True, slots=True)
class Chart:
    """Micro-credits by day, week or month (``unit``), oldest first, without a gap."""

    unit: str
    bars: tuple[tuple[str, int], ...]

    @property
    def title(self) -> str:
        """What the chart shows, from when to when."""
        first, last = self.bars[0][0], self.bars[-1][0]
        return f"Credits spent by {self.unit}, {first}" + (f" to {last}" if last != first else "")

    @property
    def top(self) -> int:
        """Where the scale ends: a round amount that no bar passes."""
        most = max(1, *(amount for _, amount in self.bars))
        unit = int("1".ljust(len(str(most)), "0"))
        return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= most)

    @property
    def marks(self) -> tuple[int, ...]:
        """The amounts on the scale: quarters where those are whole."""
        return tuple(self.top * n // 4 for n in range(5)) if self.top % 4 == 0 else (0, self.top)


_UNITS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("day", lambda day: day),
    ("week", week_of),
    ("month", lambda day: day[:7]),
)


def chart(costs: Mapping[str, int], since: str | None, until: str | None) -> Chart | None:
    """The chart of costs by day, ``None`` where there is none; what is too long for days is shown by week or month."""
    days = sorted(day for day in costs if _is_day(day))
    if not days:
        return None
    first, last = (datetime.date.fromisoformat(day) for day in (since or days[0], until or days[-1]))
    every_day = [(first + datetime.timedelta(n)).isoformat() for n in range((last - first).days + 1)]
    drawn = Chart("", ())
    for unit, shown in _UNITS:
        bars = dict.fromkeys(map(shown, every_day), 0)
        for day in days:
            bars[shown(day)] += costs[day]
        drawn = Chart(unit, tuple(sorted(bars.items())[-_MOST_BARS:]))
        if len(bars) <= _MOST_BARS:
            break
    return drawn


def _is_day(text: str) -> bool:
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def terminal(drawn: Chart) -> list[str]:
    """Lines for 80 columns and 24 rows, without colour."""
    wide = max(1, min(7, _MOST_BARS // len(drawn.bars)))
    gap = " " if wide > 1 else ""
    heights = [-(-amount * _ROWS * 8 // drawn.top) for _, amount in drawn.bars]
    marks = {-(-mark * _ROWS // drawn.top) - 1: _exact(mark) for mark in drawn.marks}
    lines = [drawn.title, ""]
    for row in reversed(range(_ROWS)):
        cells = (_EIGHTHS[max(0, min(8, height - row * 8))] * (wide - len(gap)) + gap for height in heights)
        lines.append(f"{marks.get(row, ''):>14} {'┤' if row in marks else '│'}{''.join(cells)}".rstrip())
    lines.append(f"{0:>14} └{'─' * (wide * len(drawn.bars))}")
    first, last = drawn.bars[0][0], drawn.bars[-1][0]
    room = max(len(first) + len(last) + 2, wide * len(drawn.bars))
    lines.append(" " * 16 + (first + last.rjust(room - len(first)) if len(drawn.bars) > 1 else first))
    return lines


def svg(drawn: Chart) -> str:
    """The same as a picture without a background, readable on light and on dark."""
    wide, high = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - _BOTTOM
    floor = _TOP + high
    step = wide / len(drawn.bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{_TEXT}">',
        f"<title>{escape(drawn.title)}</title>",
        _words(_WIDTH / 2, 26, drawn.title, "middle", 16),
        _words(20, _TOP + high / 2, "credits", "middle", 12, f' transform="rotate(-90 20 {_TOP + high / 2:g})"'),
        _words(_LEFT + wide / 2, _HEIGHT - 12, drawn.unit, "middle"),
    ]
    for mark in drawn.marks:
        y = floor - high * mark / drawn.top
        parts.append(f'<path d="M{_LEFT} {y:g}h{wide}" stroke="{_TEXT}" stroke-opacity="0.3"/>')
        parts.append(_words(_LEFT - 8, y + 4, _exact(mark), "end"))
    every = -(-len(drawn.bars) // 8)
    for place, (label, amount) in enumerate(drawn.bars):
        x, tall = _LEFT + step * place, high * amount / drawn.top
        told = f"<title>{escape(label)}: {_exact(amount)}</title>"
        shape = f'x="{x + step * 0.1:.2f}" y="{floor - tall:.2f}" width="{step * 0.8:.2f}" height="{tall:.2f}"'
        parts.append(f'<rect {shape} fill="{_BAR}">{told}</rect>')
        if place % every == 0:
            parts.append(_words(x + step / 2, floor + 18, label, "middle"))
        if amount and len(drawn.bars) <= 8:
            parts.append(_words(x + step / 2, floor - tall - 5, _exact(amount), "middle"))
    return "\n".join([*parts, "</svg>", ""])


def _words(x: float, y: float, text: str, anchor: str, size: int = 12, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"{more}>{escape(text)}</text>'


def _exact(amount: int) -> str:
    """Credits with at least two places and no more than they need: ``0.10``, ``0.001234``."""
    digits = format_credits(amount).rstrip("0")
    return digits.ljust(digits.index(".") + 3, "0") if amount else "0"
