"""What a prompt asks for: a small linear classifier over its words and shapes, with the words that decided.

Nothing is loaded at import; the first guess reads the weights (about 1 MB) and numpy.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from nanolocal.chat.routes import Task
from nanolocal.routing.features import features_of, trimmed, words_of
from nanolocal.routing.labels import LABELS, PICTURE_TASKS, subtask_of
from nanolocal.routing.languages import language_of
from nanolocal.routing.lexicon import kinds_of
from nanolocal.routing.weights import Limits, Scored, Weights, weights

_FOLLOW_UP_WORDS = 12
_TELLING_WORDS = 4
"""A follow-up of fewer words leans on the turn before all the more, however sure those words make the classifier."""
_TURNS_BACK = 3
_FOLLOW_UP = re.compile(
    r"(?:and|or|but|now|again|also|then|instead|what about|how about|same|another|one more|the (?:other|second|last)|"
    r"make (?:it|that|this|them)|(?:a bit |much )?(?:shorter|longer|simpler|better|more|less|fewer)|in [a-z]+$|try|"
    r"continue|go on|keep|why|it|that|this|these|those|do (?:it|that)|change (?:it|that)|add|with(?:out)?|too|no[, ]|"
    r"yes[, ]|und|jetzt|noch|nochmal|kürzer|länger|mach (?:es|das)|das|auf [a-z]+$|weiter|aber|et|maintenant|encore|"
    r"plus|moins|fais[- ]le|en [a-zçñ]+$|y|ahora|otra|más|menos|hazlo|sigue|e|agora|mais|outra|faça|ora|ancora|"
    r"più|meno)\b|[再更那还]|然后|现在|继续|改成|短一点|もっと|もう|続け|それ|では|今度は"
)
_OF_PICTURES = frozenset(
    ("x:picture", "x:picture verb", "x:edit verb", "x:style", "r:wish to draw", "r:picture of", "r:drawing flags")
)
_LIKE_CAPTIONS = frozenset(("r:phrase", "r:fragments", "r:thing first", "r:short order"))
_OF_TEXT = frozenset(
    f"x:{kind}"
    for kind in ("code name", "code thing", "poem", "summary", "limits", "language name", "translate", "rewrite")
)
"""Kinds of words that prompts for text share with few wishes for a picture: at most one in ten of the training's."""
_ANEW = re.compile(r"\b(?:another|again|one more|anew|noch ein|encore un|otr[oa]|outr[oa]|un altr[oa])|再|もう")


@dataclass(frozen=True, slots=True)
class Guess:
    """A task with what speaks for it.

    ``confidence`` is a careful chance, 0 to 1, that ``task`` is right; below the threshold on the card ``is_sure`` is
    false and the best all-round build should answer. ``subtask`` is the likeliest fine label (``math/logic``), empty
    where there is none. ``probabilities`` are the likeliest ones over the fine labels. ``may_be_picture`` says that the
    prompt reads somewhat like the wish for a picture: worth a question, not a picture. ``looks`` says that it is about
    a picture before it, and ``may_be_blind`` whether a build that cannot see that may answer all the same.
    """

    task: Task
    confidence: float
    evidence: str
    subtask: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    language: str = ""
    may_be_picture: bool = False
    is_sure: bool = True
    looks: bool = False
    may_be_blind: bool = True


def guess_task(prompt: str, earlier: Sequence[str] = (), using: Weights | None = None) -> Guess:
    """What ``prompt`` asks for.

    ``earlier`` are the user's last turns, oldest first; a follow-up ("and in French?") is read in their light.
    ``using`` are other weights than the stored ones.
    """
    if not prompt.strip():
        return Guess(Task.CHAT, 0.0, "", is_sure=False)
    model = using or weights()
    features = features_of(prompt)
    scored, draws = model.score(features), _may_draw(frozenset(features.marks.values()))
    own = _guess(scored.probabilities, scored, language_of(prompt), model.limits, may_draw=draws)
    if not earlier or not (is_follow_up(prompt) or own.task is Task.IMAGE_EDIT):
        return own
    before = guess_task(earlier[-1], earlier[-_TURNS_BACK:-1], model)
    if not before.probabilities:
        return own
    draws = draws or before.task in PICTURE_TASKS
    joined = _guess(_mixed(own, before, prompt), scored, own.language, model.limits, may_draw=draws)
    return _told_from(before, own, joined, prompt)


def is_follow_up(prompt: str) -> bool:
    """Whether ``prompt`` is short and opens as something that leans on what was said before."""
    text = trimmed(prompt)
    words = words_of(text[:200])
    return len(words) <= 2 or (len(words) <= _FOLLOW_UP_WORDS and _FOLLOW_UP.match(text.strip()) is not None)


def _mixed(own: Guess, before: Guess, prompt: str) -> dict[str, float]:
    """The more a follow-up says by itself, the less the turn before it counts; after text no picture can be meant."""
    changes_text = own.task is Task.IMAGE_EDIT and before.task not in PICTURE_TASKS and not _names_picture(prompt)
    telling = min(1.0, len(words_of(trimmed(prompt))) / _TELLING_WORDS)
    share, old = 0.0 if changes_text else own.confidence * telling, before.probabilities
    return {label: share * chance + (1 - share) * old[label] for label, chance in own.probabilities.items()}


def _names_picture(prompt: str) -> bool:
    text = trimmed(prompt)
    return "picture" in kinds_of(text, words_of(text))


def _told_from(before: Guess, own: Guess, joined: Guess, prompt: str) -> Guess:
    """The joined guess with its reason; after a picture, a wish for one changes it unless it asks for another."""
    if joined.task is Task.IMAGE_GEN and before.task in PICTURE_TASKS and not _ANEW.search(prompt.lower()):
        return replace(joined, task=Task.IMAGE_EDIT, subtask="", evidence="changes the last picture")
    if joined.task is not own.task:
        return replace(joined, evidence=f"goes on with {joined.task}")
    return joined


def _may_draw(marks: Set[str]) -> bool:
    """Whether a prompt shows by itself that a picture is meant: by such a word, or by its shape where it asks nothing.

    What the words of training make likely is not enough: a picture costs minutes, and a question about it one key.
    """
    if marks & _OF_TEXT:
        return False
    return bool(marks & _OF_PICTURES) or ("r:question word" not in marks and bool(marks & _LIKE_CAPTIONS))


def _guess(
    probabilities: Mapping[str, float], scored: Scored, language: str, limits: Limits, *, may_draw: bool
) -> Guess:
    tasks = dict.fromkeys(Task, 0.0)
    for label, chance in _flatter(probabilities, limits.caution).items():
        tasks[LABELS[label]] += chance
    ranked = sorted(Task, key=lambda task: -tasks[task])
    picture = tasks[Task.IMAGE_GEN]
    is_likely = sum(tasks[task] for task in PICTURE_TASKS) >= limits.picture
    if ranked[0] in PICTURE_TASKS and not (is_likely and may_draw):
        ranked = [task for task in ranked if task not in PICTURE_TASKS]
    task = ranked[0]
    label = max((label for label in LABELS if LABELS[label] is task), key=lambda label: probabilities[label])
    return Guess(
        task=task,
        confidence=tasks[task],
        evidence=scored.evidence_for(label),
        subtask=subtask_of(label),
        probabilities=probabilities,
        language=language,
        may_be_picture=task not in PICTURE_TASKS and picture >= limits.maybe_picture,
        is_sure=tasks[task] >= limits.sure,
    )


def _flatter(probabilities: Mapping[str, float], caution: float) -> dict[str, float]:
    """The chances at a temperature that is so many times as high."""
    grown = {label: chance ** (1 / caution) for label, chance in probabilities.items()}
    total = sum(grown.values())
    return {label: value / total for label, value in grown.items()}
