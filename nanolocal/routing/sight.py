"""What a prompt wants of a picture that is near in the conversation: to have it looked at, to have it changed, another.

The classifier reads a prompt by itself. "How many are there?" or "now at night" say little by themselves; beside a
picture they say enough. These rules are asked only then, and where they are silent the classifier decides.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from nanolocal.chat.routes import Task
from nanolocal.routing import picturewords as words
from nanolocal.routing.features import trimmed, words_of
from nanolocal.routing.labels import PICTURE_TASKS
from nanolocal.routing.lexicon import kinds_of
from nanolocal.routing.tasks import Guess, guess_task


class Near(StrEnum):
    """Where a picture is: none, earlier in the conversation, what the last answer is or tells of, or in the prompt."""

    NOWHERE = "nowhere"
    EARLIER = "earlier"
    TOPIC = "topic"
    ATTACHED = "attached"


class Wish(StrEnum):
    """What is wanted: a look, a look that a build without eyes may do without, a change, a new picture."""

    LOOK = "look"
    GLANCE = "glance"
    EDIT = "edit"
    NEW = "new"


class Heard(NamedTuple):
    """A wish with the words that show it."""

    wish: Wish
    evidence: str


_CONFIDENCE = 0.9
_OPEN = (Task.CHAT, Task.EXTRACT, *PICTURE_TASKS)
_SURELY_TEXT = 0.6
"""What the classifier is so sure of is no word about a picture, unless it names the picture."""
_LONGEST, _LONGEST_QUESTION, _LONGEST_GLANCE, _LONGEST_FRAGMENT, _SHORT = 40, 16, 8, 12, 4
_LEAST_SHARED, _SHORTEST = 4, 3
"""Letters that a word of the prompt shares from its start with one of the picture's, so that plurals count."""


def guessed(prompt: str, near: Near, earlier: Sequence[str] = ()) -> Guess:
    """What ``prompt`` asks for beside a picture; ``earlier`` are the user's last turns, oldest first.

    Whatever draws from a picture that comes with the prompt changes that one.
    """
    own = guess_task(prompt)
    said = heard(prompt, near, own, earlier)
    if said is None:
        guess = guess_task(prompt, earlier)
        is_change = guess.task is Task.IMAGE_GEN and near is Near.ATTACHED
        return replace(guess, task=Task.IMAGE_EDIT, subtask="") if is_change else guess
    if said.wish in (Wish.LOOK, Wish.GLANCE):
        spoken = own if own.task not in PICTURE_TASKS else Guess(Task.CHAT, own.confidence, own.evidence)
        may_be_blind = said.wish is Wish.GLANCE
        return replace(spoken, evidence=said.evidence, may_be_picture=False, looks=True, may_be_blind=may_be_blind)
    is_new = said.wish is Wish.NEW and near is not Near.ATTACHED
    task = Task.IMAGE_GEN if is_new else Task.IMAGE_EDIT
    return Guess(task, _CONFIDENCE, said.evidence, probabilities={task: 1.0}, language=own.language)


def heard(prompt: str, near: Near, own: Guess, earlier: Sequence[str] = ()) -> Heard | None:
    """What ``prompt`` wants of the picture, or ``None`` where its words do not tell.

    ``own`` is what the classifier makes of the prompt alone, ``earlier`` what was said before.
    """
    whole = trimmed(prompt).strip()
    text = _opened(whole.lower())
    if near is Near.NOWHERE or not text or len(words_of(text)) > _LONGEST:
        return None
    if near is Near.EARLIER and not words.THIS_PICTURE.search(text):
        return None
    if words.FORM.search(text):
        return None
    if own.task not in _OPEN and own.confidence >= _SURELY_TEXT and near is not Near.ATTACHED:
        return _look(whole, text, near, earlier) if words.THIS_PICTURE.search(text) else None
    return _new(text, own) or _change(text) or _look(whole, text, near, earlier) or _fragment(text, near)


def _opened(text: str) -> str:
    """Without the words that only lead in."""
    lead = words.OPENING.match(text)
    return text[lead.end() :] if lead and lead.end() < len(text) else text


def _new(text: str, own: Guess) -> Heard | None:
    found = words.ANOTHER.match(text) or words.DRAWN_BY.match(text)
    if found is None and own.task in PICTURE_TASKS:
        found = words.TO_DRAW.match(text) or words.A_PICTURE.search(text)
    is_of_text = words.TEXT_THING.search(text) or words.ASKING.match(text)
    return Heard(Wish.NEW, found[0]) if found and not is_of_text else None


def _change(text: str) -> Heard | None:
    found = words.TO_CHANGE.match(text) or words.TO_MAKE.match(text)
    if found is None and re.search(r"[\u3040-\u9fff]", text):
        found = words.TO_CHANGE.search(text)
    if found is None or (words.TEXT_THING.search(text) and not words.THIS_PICTURE.search(text)):
        return None
    return Heard(Wish.EDIT, found[0])


def _look(whole: str, text: str, near: Near, earlier: Sequence[str]) -> Heard | None:
    asks = bool(words.ASKING.match(text) or words.ASKED_FIRST.match(text))
    is_question = asks or text.rstrip().endswith(words.QUESTION_MARKS)
    tells = words.TELLING.search(text) if near is Near.ATTACHED else words.TELLING.match(text)
    seeing = words.SEEING.search(text)
    length = len(words_of(text))
    if not (is_question or tells or seeing) or length > _LONGEST_QUESTION or not words.ONE_SENTENCE.fullmatch(text):
        return None
    if found := words.THIS_PICTURE.search(text) or seeing:
        return Heard(Wish.LOOK, found[0])
    if _is_of_the_world(whole, text):
        return None
    if tells and (words.DEICTIC.search(text) or length <= _SHORT):
        return Heard(Wish.LOOK, tells[0])
    return _question(text, length, earlier) if is_question else None


def _question(text: str, length: int, earlier: Sequence[str]) -> Heard | None:
    """A question that names no picture: it is about this one where it points at something, or at what was drawn."""
    visual, deictic = words.VISUAL.search(text), words.DEICTIC.search(text)
    found = visual or deictic or _named(text, earlier)
    if found is None or (not deictic and words.REASON.match(text)):
        return None
    if visual and (deictic or _shared(text, earlier)):
        return Heard(Wish.LOOK, found[0])
    return Heard(Wish.GLANCE, found[0]) if length <= _LONGEST_GLANCE else None


def _fragment(text: str, near: Near) -> Heard | None:
    said = words_of(text)
    if near is Near.EARLIER or len(said) > _LONGEST_FRAGMENT or text.endswith("?"):
        return None
    kinds = set(kinds_of(text, said))
    if words.TEXT_THING.search(text) or kinds & {"language name", "code name"}:
        return None
    found = words.FRAGMENT.match(text) or words.FAULT.match(text)
    return Heard(Wish.EDIT, found[0].strip()) if found else None


def _is_of_the_world(whole: str, text: str) -> bool:
    """Whether a question asks for what no picture shows: a fact, a measure, the user's own affairs."""
    if words.WORLD.search(text) or (words.MEASURE.search(text) and not re.search(r"\b(?:he|she|they|er|it)\b", text)):
        return True
    return bool(words.PROPER.search(whole)) and not words.NOUNS_ARE_PLAIN.search(text)


def _shared(text: str, earlier: Sequence[str]) -> bool:
    """Whether a word of the question was in what the picture was asked for with."""
    return not _stems(text).isdisjoint(_stems(" ".join(earlier).lower()))


def _named(text: str, earlier: Sequence[str]) -> re.Match[str] | None:
    """A thing in a question that the picture was asked for with and that is spoken of as known: "the cat"."""
    drawn = _stems(" ".join(earlier).lower())
    return next((thing for thing in words.THE_THING.finditer(text) if _stems(thing[0]) & drawn), None)


def _stems(text: str) -> set[str]:
    """How the words begin that name something."""
    return {word[:_LEAST_SHARED] for word in words_of(text) if len(word) >= _SHORTEST and word not in words.PLAIN}
