"""What a further run practises: copying words exactly, names, corrections, forms, summaries and passages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starter_text.facts import UNWANTED, is_plain, list_of, ranked_words, read
from starter_text.stories import COUPLETS, Turns, article, cast, plots, tell, tell_briefly
from starter_text.tasks import plain_sentence
from starter_text.words import NUMBERS, bank, invented_name, join_and, rough, talk, word_lists, word_pairs

RUDE = re.compile(r"retard|nigg|whore|bitch|bastard|faggot|shit|fuck|negro|slut", re.IGNORECASE)
Passage = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Pools:
    """Real words to copy and to work on; from the banks alone where there is no data folder.

    A passage is a topic with two to four sentences on it, a meaning a noun with its definition.
    """

    words: tuple[str, ...]
    names: tuple[str, ...]
    sentences: tuple[str, ...]
    passages: tuple[Passage, ...]
    meanings: tuple[tuple[str, str], ...]


def pools(data: Path) -> Pools:
    """The pools of a data folder."""
    words = {str(list_of(record, "words")[0]) for record in read(data, "dict_wordnet")}
    nouns = [(word, record) for word, record in ranked_words(data) if is_plain(record) and record["pos"] == "noun"]
    names = set(bank("girls") + bank("boys") + bank("towns"))
    sentences: list[str] = []
    passages: list[Passage] = []
    for name in ("stories_kids_ccby", "stories_tinystories_sample", "stories_tinyfabulist", "wiki_simple"):
        for record in read(data, name):
            title, _, body = str(record["text"]).partition("\n\n")
            found = re.split(r"(?<=[.!?]) (?=[A-Z])", body.partition("\n\n")[0].strip())
            sentences += [one for one in found if is_clean(one)]
            if name == "wiki_simple":
                names |= {word for word in title.split() if re.fullmatch(r"[A-Z][a-z]{2,11}", word)}
                passages += [(title, tuple(found[:4]))] if is_passage(title, found[:4]) else []
    plain = [word for word in words if re.fullmatch(r"[a-z]{3,12}", word) and not unwanted(word)]
    kept = bank("animals") + bank("objects") + bank("foods")
    meanings = tuple((word, str(record["def"])) for word, record in nouns)
    return Pools(tuple(sorted(plain)) or kept, tuple(sorted(names)), tuple(sentences), tuple(passages), meanings)


def unwanted(text: str) -> bool:
    """Whether a text is not one to practise with."""
    return UNWANTED.search(text) is not None or RUDE.search(text) is not None


def is_clean(sentence: str) -> bool:
    """Whether a sentence is short and plain enough to be corrected or said again."""
    fits = re.fullmatch(r"[A-Z][A-Za-z',\- ]+[a-z]\.", sentence) is not None
    return fits and 4 <= sentence.count(" ") + 1 <= 12 and not unwanted(sentence)


def is_passage(title: str, found: list[str]) -> bool:
    """Whether sentences explain their title: it is one or two words, and the first sentence says what it is."""
    text, first = " ".join(found), found[0]
    named = re.fullmatch(r"[A-Z]\w+( \w+)?", title) is not None and title.lower() in first.lower()[: len(title) + 5]
    fits = len(found) >= 2 and 90 <= len(text) <= 420 and len(first) <= 160
    return fits and named and " is a" in first and "(" not in first and not unwanted(text)


@cache
def wordings(name: str) -> tuple[str, ...]:
    """The forms of a "%name" line of practice.txt."""
    line = next(line for line in _lines() if line.startswith(f"%{name}:"))
    return _parts(line.partition(":")[2])


@cache
def cases(name: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The cases below "@name": of each its parts, of each part its wordings."""
    lines = _lines()
    begin = lines.index(f"@{name}") + 1
    end = next((place for place in range(begin, len(lines)) if lines[place].startswith("@")), len(lines))
    return tuple(tuple(map(_parts, line.split(" => "))) for line in lines[begin:end])


def _lines() -> list[str]:
    lines = (Path(__file__).parent / "practice.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("# ")]


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" ").replace("\\n", "\n") for part in text.split("|"))


def gaps(rng: random.Random, pool: Pools) -> dict[str, object]:
    """What fills the gaps of one example: names, things, places and the like, always other ones."""
    name, other = any_name(rng, pool), any_name(rng, pool)
    town = rng.choice((rng.choice(bank("towns")), any_name(rng, pool)))
    thing, second = rng.sample(bank("objects"), 2)
    colour, shade = rng.sample(bank("colours"), 2)
    food, job, animal = (rng.choice(bank(each)) for each in ("foods", "jobs", "animals"))
    return {
        "n": name, "o": other, "t": town, "x": thing, "ax": article(thing), "y": second, "w": rng.choice(pool.words),
        "c": colour, "s": shade, "C": colour.title(), "ac": article(colour), "Ac": article(colour).capitalize(),
        "f": food, "F": food.capitalize(), "j": job, "aj": article(job), "a": animal,
        "Aa": article(animal).capitalize(), "p": rng.choice(bank("pets")), "h": rng.choice(bank("hobbies")),
        "d": rng.choice(bank("days")), "m": rng.choice(bank("months")), "r": fill(rng, "relation"),
        "b": fill(rng, "building"), "k": NUMBERS[rng.randint(2, 10)],
    }  # fmt: skip


def fill(rng: random.Random, name: str, **values: object) -> str:
    """One of the wordings with its gaps filled."""
    return rng.choice(wordings(name)).format(**values)


def said_of(rng: random.Random, name: str, values: Mapping[str, object]) -> list[str]:
    """A case with one wording of each part, its gaps filled."""
    return [rng.choice(part).format(**values) for part in rng.choice(cases(name))]


def any_name(rng: random.Random, pool: Pools) -> str:
    """A name: a common one, a rare one, or one that nobody has."""
    form = rng.random()
    if form < 0.3:
        return rng.choice(bank("girls") + bank("boys"))
    return rng.choice(pool.names) if form < 0.7 else invented_name(rng)


def any_sentence(rng: random.Random, pool: Pools) -> str:
    """A sentence of a book or a made one."""
    return rng.choice(pool.sentences) if pool.sentences and rng.random() < 0.55 else plain_sentence(rng)


def text_to_say(rng: random.Random, pool: Pools) -> str:
    """Something to say again: words, a name, a number, or a sentence."""
    form = rng.random()
    if form < 0.3:
        return rng.choice((" ", ", ")).join(rng.sample(pool.words, rng.randint(1, 5)))
    if form < 0.5:
        return " ".join(any_name(rng, pool) for _ in range(rng.choice((1, 1, 2, 3))))
    if form < 0.6:
        return str(rng.randint(0, 10 ** rng.randint(1, 6)))
    if form < 0.7:
        return f"{any_name(rng, pool)} {rng.choice(pool.words)} {rng.randint(1, 99)}"
    return any_sentence(rng, pool)


def copying(rng: random.Random, pool: Pools) -> Turns:
    """Text to say again as it is, once or some times or in part, or a greeting to somebody."""
    text, word = text_to_say(rng, pool), rng.choice((rng.choice(pool.words), any_name(rng, pool)))
    form = rng.random()
    if form < 0.5:
        return [(fill(rng, "copy", x=text), text)]
    if form < 0.62:
        count = rng.choice((2, 3, 4))
        times = "twice" if count == 2 and rng.random() < 0.5 else f"{NUMBERS[count]} times"
        return [(fill(rng, "times", x=word, t=times), " ".join([word] * count))]
    if form < 0.76:
        words = rng.sample(pool.words, rng.randint(2, 6))
        which, place = rng.choice((("first", 0), ("last", -1), ("second", 1)))
        return [(fill(rng, "which word", w=which, x=rng.choice((" ", ", ")).join(words)), words[place])]
    name = any_name(rng, pool)
    if form < 0.88:
        title = rng.choice(("", "", "", "Mr ", "Mrs ", "Dr ", "Aunt ", "Uncle "))
        asked, greeting = said_of(rng, "greet", {"n": title + name})
        return [(asked, greeting)]
    return [(fill(rng, "name", x=name), name)]


def memory(rng: random.Random, pool: Pools) -> Turns:
    """The user tells something, perhaps talks of something else, and asks for it."""
    values = gaps(rng, pool)
    introduced = (fill(rng, "opening", n=values["n"]), fill(rng, "hello", n=values["n"]))
    named = (fill(rng, "ask name"), f"Your name is {values['n']}.")
    told, reply, asked, answer = said_of(rng, "memory", values)
    form = rng.random()
    turns, last = [introduced], named
    if form >= 0.22:
        turns, last = ([introduced] if rng.random() < 0.4 else []) + [(told, reply)], (asked, answer)
        if len(turns) == 2 and rng.random() < 0.5:
            last = named
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        turns.append(chatter(rng, pool)[0] if rng.random() < 0.6 else plain_talk(rng))
    return [*turns, last]


def plain_talk(rng: random.Random) -> tuple[str, str]:
    """A question of talk.txt with an answer."""
    questions, answers = rng.choice(talk()[:45])
    return rough(rng, rng.choice(questions)), rng.choice(answers)


def damaged(rng: random.Random, sentence: str) -> str:
    """A sentence with one to three slips of the hand, perhaps without its capital letters and full stop."""
    words = sentence.split(" ")
    places = [place for place, word in enumerate(words) if len(word.strip(".,")) > 3 and word[0].islower()]
    for place in rng.sample(places, min(len(places), rng.choice((1, 1, 2, 3)))):
        words[place] = slip(rng, words[place])
    wrong = " ".join(words)
    if rng.random() < 0.5 or wrong == sentence:
        wrong = wrong[0].lower() + wrong[1:] if rng.random() < 0.3 else wrong.lower()
    return wrong.rstrip(".?") if rng.random() < 0.4 else wrong


def slip(rng: random.Random, word: str) -> str:
    """The word with two letters swapped, one left out, or one doubled."""
    at = rng.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return rng.choice((swapped, word[:at] + word[at + 1 :], word[: at + 1] + word[at:]))


def fixing(rng: random.Random, pool: Pools) -> Turns:
    """A sentence with slips or a common mistake to correct."""
    if rng.random() >= 0.3:
        right = any_sentence(rng, pool)
        return [(fill(rng, "fix", x=damaged(rng, right)), right)]
    animal = rng.choice(("cat", "dog", "horse", "bird", "rabbit", "duck", "goat", "pig"))
    wrong, right = said_of(rng, "grammar", gaps(rng, pool) | {"k": animal})
    wrong = wrong.lower() if rng.random() < 0.3 else wrong
    return [(fill(rng, "fix", x=wrong.rstrip(".") if rng.random() < 0.4 else wrong), right)]


def forms(rng: random.Random, pool: Pools) -> Turns:
    """Another form of the same words: letters, full stop, question, negative, past, polite."""
    maker = rng.choice((letters, letters, clauses, clauses, negative, past, polite))
    return [maker(rng, pool)]


def letters(rng: random.Random, pool: Pools) -> tuple[str, str]:
    """Words in capital or in small letters."""
    words = " ".join(rng.sample(pool.words, rng.choice((1, 2, 2, 3))))
    if rng.random() < 0.5:
        return fill(rng, "capitals", x=words), words.upper()
    return fill(rng, "small", x=words.upper()), words


def clauses(rng: random.Random, pool: Pools) -> tuple[str, str]:
    """A clause as a proper sentence or as a question."""
    values = gaps(rng, pool)
    values |= {"x": rng.choice((values["x"], values["w"])), "a": rng.choice(wordings("state")), "r": fill(rng, "room")}
    clause = fill(rng, "clause", **values)
    if rng.random() < 0.5:
        return fill(rng, "full stop", x=clause), f"{clause[0].upper()}{clause[1:]}."
    subject, verb, rest = re.split(r" (is|was|can) ", clause, maxsplit=1)
    return fill(rng, "question", x=rng.choice((clause, clause + "."))), f"{verb.title()} {subject} {rest}?"


def negative(rng: random.Random, pool: Pools) -> tuple[str, str]:
    """A sentence and its negative."""
    subject, what = rng.choice(("I", "We", "You", "They")), fill(rng, "wanted", **gaps(rng, pool))
    return fill(rng, "negative", x=f"{subject} {what}."), f"{subject} do not {what}."


def past(rng: random.Random, pool: Pools) -> tuple[str, str]:
    """A sentence and its past form."""
    values, subject, verb = gaps(rng, pool), rng.choice(("I", "We", "You", "They")), fill(rng, "verb").split()
    rest = rng.choice(("", " in the garden", " with {n}", " in {t}", " every day", " at home", " to school"))
    rest = rest.format(**values)
    return fill(rng, "past", x=f"{subject} {verb[0]}{rest}."), f"{subject} {verb[1]}{rest}."


def polite(rng: random.Random, pool: Pools) -> tuple[str, str]:
    """A wish and its polite form."""
    wish = fill(rng, "wish", **gaps(rng, pool))
    return fill(rng, "polite", x=rng.choice((wish, wish.capitalize() + "."))), f"Could you please {wish}?"


def summing_up(rng: random.Random, pool: Pools) -> Turns:
    """A passage to shorten to its first sentence, or to name its topic."""
    if pool.passages and rng.random() < 0.5:
        topic, found = rng.choice(pool.passages)
    else:
        values = gaps(rng, pool) | {"k": rng.randint(2, 90), "p": rng.choice(bank("places"))}
        topic, *rest = said_of(rng, "passage", values)
        found = tuple(rest)
    if rng.random() < 0.35:
        return [(fill(rng, "title", x=" ".join(found)), topic)]
    return [(fill(rng, "shorten", x=" ".join(found)), found[0])]


def explaining(rng: random.Random, pool: Pools) -> Turns:
    """A passage on a thing, known or invented, and the question what that thing is; sometimes on another thing."""
    if pool.passages and rng.random() < 0.5:
        named, found = rng.choice(pool.passages)
        first, rest = found[0], found[1]
    else:
        named = rng.choice((invented_name(rng).lower(), rng.choice(pool.words)))
        thing = rng.choice(bank("objects") + bank("animals"))
        meaning = f"{fill(rng, 'kind of thing')} {thing} {fill(rng, 'which')}"
        if pool.meanings and rng.random() < 0.6:
            meaning = re.sub(r"^(a|an|the) ", "", rng.choice(pool.meanings)[1])
        first = f"{article(named).capitalize()} is {article(meaning)}."
        rest = fill(rng, "more", **gaps(rng, pool))
    text = f"{first} {rest}".strip()
    if rng.random() < 0.15:
        return [(fill(rng, "explain", t=text, x=rng.choice(pool.words)), fill(rng, "not said"))]
    asked = rng.choice((named, article(named) if named.islower() else named))
    return [(fill(rng, "explain told" if rng.random() < 0.2 else "explain", t=text, x=asked), first)]


def reading(rng: random.Random, pool: Pools) -> Turns:
    """One to three facts and a question: who, what, where, when, how many; the answer is copied, or is not there."""
    values = gaps(rng, pool)
    facts = [[part[0].format(**values) for part in case] for case in cases("fact")]
    chosen = rng.sample(facts, rng.choice((1, 2, 2, 3)))
    text, (_, question, answer) = " ".join(fact[0] for fact in chosen), rng.choice(chosen)
    if rng.random() < 0.2:
        question = rng.choice([fact for fact in facts if fact not in chosen])[1]
        answer = fill(rng, "not said")
    return [(fill(rng, "ask of text", t=text, q=question), answer)]


def limits(rng: random.Random, pool: Pools) -> Turns:
    """What the model cannot know or do, with gaps, so that the kind of the question is learned and not its words."""
    values = gaps(rng, pool) | {"k": rng.randint(2, 9), "m": rng.randint(10, 99)}
    values |= {"l": fill(rng, "language"), "i": fill(rng, "illness")}
    asked, answer = said_of(rng, "limit", values)
    return [(rough(rng, asked), answer)]


def orders(rng: random.Random, pool: Pools) -> Turns:
    """Answers of a wanted form: one word, yes or no, so many lines, words or sentences."""
    subject = rng.choice(bank("animals") + bank("people") + bank("still"))
    kind = rng.randrange(6)
    if kind == 0:
        thing, colour = said_of(rng, "colour of", {})
        return [(fill(rng, "one word", x=thing), colour)]
    if kind == 1:
        asked, answer = said_of(rng, "yes or no", {})
        return [(fill(rng, "yes or no", q=asked), answer)]
    if kind == 2:
        count = rng.choice((2, 4, 4, 6))
        lines = [line for pair in rng.sample(COUPLETS, count // 2) for line in pair]
        poem = "\n".join(line[0].upper() + line[1:] for line in lines).format(S=subject)
        return [(fill(rng, "poem", n=NUMBERS[count], a=article(subject)), poem)]
    if kind == 3:
        return [told_briefly(rng, subject)]
    values = {"z": subject, "a": article(subject), "c": rng.choice(bank("colours")), "p": rng.choice(bank("places"))}
    if kind == 4:
        size = rng.choice(("big", "small", "old", "quiet", "lovely", "strong"))
        found = said_of(rng, "description", values | {"g": size, "ag": article(size)})
        count = rng.choice((1, 2))
        asked = fill(rng, "describe", a=article(subject), n=("one sentence", "two sentences")[count - 1])
        return [(asked, " ".join(found[:count]))]
    asked, answer = said_of(rng, "order", values)
    return [(asked, answer)]


def told_briefly(rng: random.Random, subject: str) -> tuple[str, str]:
    """A story of three sentences, or one that ends with given words."""
    plot = rng.choice([one for one in plots() if one.kind == ("still" if subject in bank("still") else "walk")])
    who = cast(rng, subject)
    if rng.random() < 0.5:
        return fill(rng, "brief story", a=article(subject)), tell_briefly(rng, plot, who)
    ending = fill(rng, "ending")
    return fill(rng, "ended story", a=article(subject), e=ending), f"{tell(rng, plot, who)} {ending}"


def chatter(rng: random.Random, pool: Pools) -> Turns:
    """Something the user tells, with a short friendly reply."""
    told, reply = said_of(rng, "chatter", gaps(rng, pool) | {"y": fill(rng, "topic")})
    return [(rough(rng, told), reply)]


def words(rng: random.Random, pool: Pools) -> Turns:
    """Opposites and other word pairs in more wordings, and lists asked for in more ways."""
    if rng.random() < 0.45:
        return lists(rng, pool)
    kind = rng.choice(("opposite", "opposite", "opposite", "sound", "baby", "plural", "past", "rhyme", "order"))
    if kind == "order":
        names, what = rng.choice(((bank("days"), "day"), (bank("months"), "month")))
        at, side = rng.randrange(len(names)), rng.choice(("after", "before"))
        other = names[(at + (1 if side == "after" else -1)) % len(names)]
        return [(fill(rng, f"day {side}", w=what, d=names[at]), f"{other} comes {side} {names[at]}.")]
    first, second = rng.choice(word_pairs()[kind])
    if kind in {"opposite", "rhyme"} and rng.random() < 0.5:
        first, second = second, first
    asked, answer = said_of(rng, kind, {"a": first, "b": second, "B": second.capitalize()})
    return [(asked, answer)]


def lists(rng: random.Random, pool: Pools) -> Turns:
    """So many things of a kind, in other wordings than "naming"."""
    group = rng.choice(word_lists())
    count = min(len(group.items), rng.choice((2, 2, 3, 3, 4, 4, 5, 5, 6)))
    number = NUMBERS[count] if rng.random() < 0.7 else str(count)
    what = f"{number} {rng.choice(group.plural)} {fill(rng, 'tail')}".strip()
    items = sorted(rng.sample(group.items, count), key=group.items.index)
    if rng.random() < 0.35:
        lines = [f"{place}. {item[0].upper()}{item[1:]}" for place, item in enumerate(items, 1)]
        return [(fill(rng, "list", w=what), "\n".join(lines))]
    answer = join_and(items) + "."
    return [(fill(rng, "row", w=what), answer[0].upper() + answer[1:])]


def tales(rng: random.Random, pool: Pools) -> Turns:
    """Stories in more wordings, with two to be in it, a name, or a quality of the hero."""
    subject = rng.choice(rng.choice((bank("animals"), bank("people"), bank("still"))))
    plot = rng.choice([one for one in plots() if one.kind == ("still" if subject in bank("still") else "walk")])
    name = any_name(rng, pool) if rng.random() < 0.4 else ""
    friend = rng.choice([one for one in bank("animals") + bank("people") if one != subject and " " not in one])
    text = tell(rng, plot, cast(rng, subject, name, friend))
    named = article(subject)
    if name:
        named += f" {rng.choice(('named', 'called'))} {name}"
    elif friend in text and rng.random() < 0.4:
        named += f" and {article(friend)}"
    elif subject not in bank("still") and rng.random() < 0.4:
        named = article(f"{fill(rng, 'hero')} {subject}")
        text = re.sub(rf"\ban? (\w+ )?{re.escape(subject)}", named, text, count=1)
    return [(fill(rng, "story", a=named), text)]


PRACTICE: tuple[tuple[Callable[[random.Random, Pools], Turns], float], ...] = (
    (copying, 22), (memory, 14), (fixing, 13), (forms, 12), (summing_up, 8), (explaining, 10), (reading, 10),
    (limits, 7), (orders, 7), (chatter, 7), (words, 10), (tales, 4),
)  # fmt: skip


def practice(rng: random.Random, pool: Pools) -> Turns:
    """One conversation of a random kind, sometimes two kinds in turn."""
    makers, weights = zip(*PRACTICE, strict=True)
    return [turn for maker in rng.choices(makers, weights, k=rng.choice((1, 1, 1, 2))) for turn in maker(rng, pool)]


def practised(data: Path, rng: random.Random, count: int) -> list[Turns]:
    """`count` conversations."""
    pool = pools(data)
    return [practice(rng, pool) for _ in range(count)]
