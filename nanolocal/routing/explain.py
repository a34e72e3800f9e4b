"""A decision in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nanolocal.chat.routes import Kind, Rejected, in_words
from nanolocal.errors import Damaged, NoBuildFits
from nanolocal.routing.case import Candidate, Case, Terms, are_siblings, from_record
from nanolocal.routing.gates import Demand
from nanolocal.routing.quality import EVERYTHING

if TYPE_CHECKING:
    from nanolocal.chat.decisions import Weighed
    from nanolocal.routing.tasks import Guess


def reasons(decided: Case, ranking: Sequence[Terms], guess: Guess, prefer: str, is_pinned: bool) -> tuple[str, ...]:
    """Why the first of ``ranking`` answers."""
    best = _candidate(decided, ranking[0])
    said = [what_was_asked(guess)]
    if set(decided.tasks) == {EVERYTHING}:
        said.append("not sure enough of that, so the best at everything")
    said.append(f"expected quality {ranking[0].quality:.2f}, from {best.known}; about {best.seconds:.0f} s")
    if is_pinned:
        said.insert(0, "you asked for this build")
    elif len(ranking) == 1:
        said.append("the only stored build that can")
    else:
        said.append(f"best of {len(ranking)} that fit, preferring {prefer}")
        said += among_siblings(ranking)
    if best.is_current:
        said.append("already answering in this conversation")
    return tuple(said)


def among_siblings(ranking: Sequence[Terms]) -> list[str]:
    """Why this one of the builds of its model, which differ by less than two digits show; nothing for an only one."""
    first = ranking[0]
    others = [each for each in ranking[1:] if are_siblings(each, first)]
    if not others:
        return []
    lost = max(each.quality for each in others) - first.quality
    why = f"the quickest for what it loses, {lost:.4f}" if lost > 0 else "it keeps the most of the model"
    return [f"of {len(others) + 1} builds of one model: {why}"]


def terms(decided: Case, other: Terms, best: Terms) -> str:
    """Why another build came after the best: its score and what that is made of."""
    candidate = _candidate(decided, other)
    parts = [f"quality {other.quality:.2f} from {candidate.known}", f"{candidate.seconds:.0f} s costs {other.time:.2f}"]
    if other.price >= 0.005:
        parts.append(f"price {other.price:.2f}")
    if other.swap:
        parts.append(f"loading it {other.swap:.2f}")
    return f"{other.score:.2f} against {best.score:.2f}: {', '.join(parts)}"


def weighed(record: Mapping[str, Any]) -> tuple[Weighed, ...]:
    """A stored case decided once more: every build with its terms, the best first; raises ``Damaged`` for none."""
    from nanolocal.chat.decisions import Weighed  # 4 ms, and no pick needs it

    def told(candidate: Candidate, its: Terms) -> Weighed:
        return Weighed(
            build_id=its.build_id,
            score=its.score,
            quality=its.quality,
            known=candidate.known,
            load_s=candidate.load_s,
            read_s=candidate.read_s,
            write_s=candidate.write_s,
            time=its.time,
            price=its.price,
            swap=its.swap,
            stay=its.stay,
        )

    try:
        decided = from_record(record)
        return tuple(told(_candidate(decided, each), each) for each in decided.ranking())
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Damaged("this decision's record does not add up", "nanolocal vault verify") from error


def what_was_asked(guess: Guess) -> str:
    """The task, and what gave it away."""
    task = in_words(guess.subtask or guess.task) + (" about the picture before it" if guess.looks else "")
    if not guess.evidence:
        return f"no special task seen, so {task}"
    return f"{task}: {guess.evidence!r}, {guess.confidence:.0%} sure"


def no_build(guess: Guess, kind: Kind, rejected: Sequence[Rejected], demand: Demand) -> NoBuildFits:
    """Why nothing can answer."""
    near = [item for item in rejected if item.gate != "modality"]
    if near:
        hint = f"nanolocal models release {near[0].build_id}" if near[0].gate == "health" else "nanolocal models list"
        return NoBuildFits(f"no stored build fits: {near[0].build_id}: {near[0].reason}", hint)
    if demand.upscales:
        hint = "models pull fetches one of StableDiffusionUpscalePipeline or StableDiffusionLatentUpscalePipeline"
        return NoBuildFits("no stored build can enlarge a picture", hint)
    if demand.has_picture and kind is Kind.IMAGE:
        hint = "nanolocal models catalogue --kind image lists some that do"
        return NoBuildFits("no stored build can change a picture", hint)
    if demand.has_sound:
        both = "look at pictures and " if demand.has_picture else ""
        hint = "nanolocal models catalogue --kind audio lists some, models pull NAME fetches one with its projector"
        return NoBuildFits(f"no stored build can {both}listen to sounds", hint)
    if demand.has_picture:
        hint = "nanolocal models catalogue --kind vision lists some, models pull NAME fetches one with its projector"
        return NoBuildFits("no stored build can look at pictures", hint)
    noun = "draws pictures" if kind is Kind.IMAGE else "writes text"
    return NoBuildFits(f"no stored build {noun} ({what_was_asked(guess)})", "nanolocal models list")


def _candidate(decided: Case, of: Terms) -> Candidate:
    return next(candidate for candidate in decided.candidates if candidate.build_id == of.build_id)
