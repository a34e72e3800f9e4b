"""The report card of a smaller build: every figure with how it was measured, the seed and the hashes.

It is one JSON object, kept in the card beside the build (``library.cards.REPORT``), so whoever reads it takes it as
foreign data. What makes the file again to the byte stands in its own header too, under ``nanolocal.compress.``.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from nanolocal import __version__
from nanolocal.chat.amounts import sized
from nanolocal.chat.messages import Measured as Energy
from nanolocal.compress.gate import Measured, Verdict
from nanolocal.compress.plot import Point
from nanolocal.compress.progress import duration
from nanolocal.compress.work.tasks import Divergence
from nanolocal.library.retention import BY_DIVERGENCE, retained, retained_at

KEYS = "nanolocal.compress."
"""What the keys in the header of a build begin with."""
_PROTOCOL = (
    "KL divergence of the next token from the source's, as llama-perplexity measures it: chunks read from an empty "
    "memory, the second half scored; held-out text that nothing was taken from"
)
_PAIRED = "mean of the differences at each token, 95 % interval by bootstrap over chunks"
_SPEED = "writing: the file and its source in turn, median of three rounds; reading: median of the chunks"
_MEMORY = "the most that the measuring process held, the file's pages among it"
_RECOVERED = "mean KL divergence from the original on held-out text by PyTorch, before it learned and after"
_SUITE = "the answer that is likeliest by its mean log-probability a token, among a right one and wrong ones"


@dataclass(frozen=True, slots=True)
class Marks:
    """How a build did at the suite: the number of the answer it chose to each question; 0 is the right one."""

    tasks: tuple[str, ...]
    chosen: tuple[int, ...]

    @property
    def right(self) -> int:
        """How many were answered rightly."""
        return self.chosen.count(0)

    def share(self, weights: Mapping[str, float]) -> float:
        """The share of right answers, each task counted by its weight (1 where none is told)."""
        counts = [weights.get(task, 1.0) for task in self.tasks]
        total = sum(counts)
        won = sum(count for count, chosen in zip(counts, self.chosen, strict=True) if not chosen)
        return won / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run found out, of which the card is made.

    ``source_figures`` are those of the source itself in the same run. ``writes`` are tokens a second of the file and of
    its source, which wrote in turn; ``energy`` is that of ``energy_tokens``. ``left`` says why less is used
    than the size that was asked for, ``pruned`` what was taken out before and how much came back.
    """

    file: str
    sha256: str
    size_bytes: int
    parameters: int
    source_id: str
    source_sha256: str
    source_bytes: int
    source_type: str
    requantized: bool
    verdict: Verdict
    candidates: Sequence[Measured]
    figures: Divergence
    source_figures: Divergence
    marks: Marks | None
    source_marks: Marks | None
    weights: Mapping[str, float]
    writes: tuple[float, float]
    energy: Energy | None
    source_energy: Energy | None
    energy_tokens: int
    recipe: Mapping[str, object]
    calibration: Mapping[str, object]
    held_out: Mapping[str, object]
    search: Mapping[str, object]
    left: str = ""
    pruned: Mapping[str, object] | None = None


def made_of(facts: Facts) -> dict[str, object]:
    """The card as JSON."""
    verdict = facts.verdict
    mean, low, high = verdict.difference
    report: dict[str, object] = {
        "version": 1,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "by": f"nanolocal {__version__}, llama-cpp-python {_installed('llama-cpp-python')}",
        "file": facts.file,
        "sha256": facts.sha256,
        "bytes": facts.size_bytes,
        "bits_per_weight": round(8 * facts.size_bytes / max(facts.parameters, 1), 4),
        "source": {
            "build": facts.source_id,
            "sha256": facts.source_sha256,
            "bytes": facts.source_bytes,
            "type": facts.source_type,
        },
        "accuracy": asdict(facts.figures) | {"method": _PROTOCOL, "text": dict(facts.held_out)},
        "stock": {
            "recipe": verdict.stock.name,
            "bytes": verdict.stock.size_bytes,
            "kld": verdict.stock.kld,
            "error": verdict.stock.error,
            "difference": {"mean": mean, "low": low, "high": high, "method": _PAIRED},
        },
        "kept": verdict.winner.name,
        "candidates": [_candidate(each, verdict) for each in facts.candidates],
        "speed": _speed(facts),
        "memory": {
            "peak_bytes": facts.figures.peak_bytes,
            "source_peak_bytes": facts.source_figures.peak_bytes,
            "method": _MEMORY,
        },
        "energy": _energy(facts),
        "retained": _retained(facts),
        "recipe": dict(facts.recipe),
        "calibration": dict(facts.calibration),
        "search": dict(facts.search),
    }
    if facts.requantized:
        report["requantized"] = {
            "kld": facts.figures.mean,
            "note": f"the source was {facts.source_type}: every figure is what is lost on top of its own loss, which "
            "nobody can measure without the original",
        }
    if facts.pruned is not None:
        report["pruned"] = dict(facts.pruned) | {"method": _RECOVERED}
    if facts.left:
        report["left"] = facts.left
    if facts.marks is not None and facts.source_marks is not None:
        report["suite"] = _suite(facts.marks, facts.source_marks, facts.weights)
    return report


def lines(report: Mapping[str, object]) -> list[tuple[str, str]]:
    """The card as names and sentences; what is missing or makes no sense is left out, as it may be foreign."""
    told = [
        ("made from", _source_line(report)), ("loss", _accuracy_line(report)), ("to stock", _stock_line(report)),
        ("pruned", _pruned_line(report)), ("room left", _text(report, "left")),
        ("extra loss", _text(_table(report, "requantized"), "note")), ("suite", _suite_line(report)),
        ("speed", _speed_line(report)), ("memory", _memory_line(report)), ("energy", _energy_line(report)),
        ("keeps", _kept_line(report)), ("made by", _made_line(report)),
    ]  # fmt: skip
    return [(name, text) for name, text in told if text]


def points(report: Mapping[str, object]) -> list[Point]:
    """Every file that was measured, for a picture."""
    rows = report.get("candidates")
    found = []
    for row in rows if isinstance(rows, list) else ():
        size, kld = (_number(row, key) if isinstance(row, dict) else None for key in ("bytes", "kld"))
        if size is not None and kld is not None:
            label = _text(row, "name")
            found.append(Point(label, int(size), kld, row.get("stock") is True, row.get("kept") is True))
    return found


def _candidate(each: Measured, verdict: Verdict) -> dict[str, object]:
    return {
        "name": each.name,
        "bytes": each.size_bytes,
        "kld": each.kld,
        "error": each.error,
        "stock": each.is_stock,
        "kept": each == verdict.winner,
    }


def _speed(facts: Facts) -> dict[str, object]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cores = os.cpu_count() or 1
    return {
        "read_tok_s": facts.figures.read_per_s,
        "write_tok_s": facts.writes[0],
        "source_read_tok_s": facts.source_figures.read_per_s,
        "source_write_tok_s": facts.writes[1],
        "threads": facts.figures.threads,
        "load": load,
        "busy": load is not None and load > cores,
        "method": _SPEED,
    }


def _energy(facts: Facts) -> dict[str, object]:
    if facts.energy is None or not facts.energy_tokens:
        return {"method": "unavailable"}
    found: dict[str, object] = {
        "joules_per_token": facts.energy.joules / facts.energy_tokens,
        "tokens": facts.energy_tokens,
        "measured": facts.energy.is_measured,
        "method": facts.energy.source,
    }
    if facts.source_energy is not None:
        found["source_joules_per_token"] = facts.source_energy.joules / facts.energy_tokens
    return found


def _retained(facts: Facts) -> dict[str, object]:
    """Of a source that was quantized, what that left counts too."""
    before = retained(facts.source_type, facts.parameters) if facts.requantized else 1.0
    return {"share": round(float(retained_at(facts.figures.mean) * before), 6), "method": BY_DIVERGENCE}


def _suite(marks: Marks, before: Marks, weights: Mapping[str, float]) -> dict[str, object]:
    by_task: dict[str, list[int]] = {}
    for task, now, then in zip(marks.tasks, marks.chosen, before.chosen, strict=True):
        row = by_task.setdefault(task, [0, 0, 0])
        row[0] += 1
        row[1] += now == 0
        row[2] += then == 0
    return {
        "questions": len(marks.chosen),
        "right": marks.right,
        "source_right": before.right,
        "flips": sum(now != then for now, then in zip(marks.chosen, before.chosen, strict=True)),
        "score": round(marks.share(weights), 4),
        "source_score": round(before.share(weights), 4),
        "weights": {task: weights.get(task, 1.0) for task in by_task},
        "by_task": {
            task: {"questions": asked, "right": right, "source_right": then}
            for task, (asked, right, then) in by_task.items()
        },
        "method": _SUITE,
    }


def _source_line(report: Mapping[str, object]) -> str:
    source = _table(report, "source")
    size, before = _number(report, "bytes"), _number(source, "bytes")
    if size is None or not before:
        return ""
    bits = _number(report, "bits_per_weight") or 0.0
    return (
        f"{_text(source, 'build')}, {sized(before)} {_text(source, 'type')}; "
        f"now {sized(size)}, {bits:.2f} bits a weight, {size / before:.0%} of it"
    )


def _accuracy_line(report: Mapping[str, object]) -> str:
    figures = _table(report, "accuracy")
    mean, error = _number(figures, "mean"), _number(figures, "error")
    if mean is None or error is None:
        return ""
    tail = [f"{name} {value:.2g}" for name, key in (("99 %", "p99"), ("99.9 %", "p999"))
            if (value := _number(figures, key)) is not None]  # fmt: skip
    more = [f"KL {mean:.3g} ± {error:.1g} nats a token" + (f" ({', '.join(tail)})" if tail else "")]
    if (ratio := _number(figures, "ppl_ratio")) is not None:
        more.append(f"perplexity x {ratio:.4f}")
    if (top := _number(figures, "top1")) is not None:
        more.append(f"same first choice {top:.1%}")
    if (tokens := _number(figures, "tokens")) is not None:
        more.append(f"on {int(tokens):,} held-out tokens")
    return ", ".join(more)


def _stock_line(report: Mapping[str, object]) -> str:
    stock = _table(report, "stock")
    kld, mean = _number(stock, "kld"), _number(_table(report, "accuracy"), "mean")
    if kld is None or mean is None:
        return ""
    name = _text(stock, "recipe")
    if _text(report, "kept") == name:
        return f"this is {name}: nothing that was tried is better for certain"
    difference = _table(stock, "difference")
    ends = [_number(difference, end) for end in ("low", "high")]
    told = f", {ends[0]:.2g} to {ends[1]:.2g} with 95 % certainty" if None not in ends else ""
    less = f"{1 - mean / kld:.0%} less than " if kld > 0 else "next to "
    return f"{less}{name} (KL {kld:.3g}) in {sized(_number(stock, 'bytes') or 0)}{told}"


def _pruned_line(report: Mapping[str, object]) -> str:
    pruned = _table(report, "pruned")
    layers, hidden, steps, before, after = (
        _number(pruned, key) for key in ("layers", "hidden", "steps", "kld_before", "kld")
    )
    if steps is None or not before or after is None:
        return ""
    left = [f"{int(layers)} layers"] if layers else []
    left += [f"{int(hidden)} channels"] if hidden else []
    return (
        f"{' and '.join(left) or 'fewer heads'} left, taught by the original in {int(steps):,} steps: "
        f"KL {before:.3g} before, {after:.3g} after ({1 - after / before:.0%} came back)"
    )


def _suite_line(report: Mapping[str, object]) -> str:
    suite = _table(report, "suite")
    right, asked, before, flips = (_number(suite, key) for key in ("right", "questions", "source_right", "flips"))
    if right is None or not asked or before is None:
        return ""
    changed = "" if flips is None else f"; {int(flips)} answer{'' if flips == 1 else 's'} changed"
    return f"{int(right)} of {int(asked)} questions right, {int(before)} before{changed}"


def _speed_line(report: Mapping[str, object]) -> str:
    speed = _table(report, "speed")
    write, read = _number(speed, "write_tok_s"), _number(speed, "read_tok_s")
    if not write or not read:
        return ""
    before = _number(speed, "source_write_tok_s")
    times = f", {write / before:.2f} times its source" if before else ""
    busy = "; the machine was busy" if speed.get("busy") is True else ""
    return f"writes {write:,.1f} tokens a second{times}, reads {read:,.0f}{busy}"


def _memory_line(report: Mapping[str, object]) -> str:
    memory = _table(report, "memory")
    peak, before = _number(memory, "peak_bytes"), _number(memory, "source_peak_bytes")
    if not peak:
        return ""
    return f"{sized(peak)} at the most while measured" + (f", its source {sized(before)}" if before else "")


def _energy_line(report: Mapping[str, object]) -> str:
    energy = _table(report, "energy")
    joules = _number(energy, "joules_per_token")
    if joules is None:
        return _text(energy, "method")
    before = _number(energy, "source_joules_per_token")
    return f"{joules:.3g} J a token" + (f", its source {before:.3g}" if before else "") + f"; {_text(energy, 'method')}"


def _kept_line(report: Mapping[str, object]) -> str:
    kept = _table(report, "retained")
    share = _number(kept, "share")
    return "" if share is None else f"about {share:.1%} of the quality, {_text(kept, 'method')}"


def _made_line(report: Mapping[str, object]) -> str:
    search, recipe = _table(report, "search"), _table(report, "recipe")
    seconds, seed = _number(search, "seconds"), _number(recipe, "seed")
    took = "" if seconds is None else f" in {duration(seconds)}"
    kept, tier = _text(report, "kept"), _text(search, "tier")
    depth = "" if tier == kept else f"search: {tier}"
    made = "" if seed is None else f"seed {int(seed)}"
    parts = [f"{kept}{took}", depth, made, _text(report, "by"), _text(report, "made")]
    return ", ".join(filter(None, parts))


def _table(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Mapping[str, object], key: str) -> float | None:
    """A finite number, that is none of the truth values."""
    found = value.get(key)
    is_number = isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1e18
    return float(found) if is_number and isinstance(found, int | float) else None


def _text(value: Mapping[str, object], key: str) -> str:
    found = value.get(key)
    return found[:300] if isinstance(found, str) else ""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(none)"
