"""The task classifier: what it makes of prompts it never saw, of noise, of hostile text, and of follow-ups."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nanolocal.chat.routes import Task
from nanolocal.routing.labels import LABELS, PICTURE_TASKS
from nanolocal.routing.tasks import Guess, guess_task, is_follow_up
from nanolocal.routing.weights import DATA

ROOT = Path(__file__).parents[3]


def prompts_in(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (ROOT / "tests/data" / name).read_text(encoding="utf-8").splitlines()]


HELD_OUT = prompts_in("router_heldout.jsonl")
CLEAN = prompts_in("router_clean.jsonl")
GUESSES = {each["text"]: guess_task(each["text"]) for each in HELD_OUT + CLEAN}


def task_of(each: dict[str, str]) -> Task:
    return LABELS[each["label"]]


def is_right(each: dict[str, str]) -> bool:
    return GUESSES[each["text"]].task is task_of(each)


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_most_prompts_never_trained_on_are_recognised() -> None:
    assert len(HELD_OUT) >= 800
    assert share([is_right(each) for each in HELD_OUT]) >= 0.94


def test_prompts_in_the_style_of_benchmarks_and_users_are_recognised() -> None:
    assert len(CLEAN) >= 300
    assert share([is_right(each) for each in CLEAN]) >= 0.9
    sure = [is_right(each) for each in CLEAN if GUESSES[each["text"]].confidence >= 0.7]
    assert len(sure) / len(CLEAN) >= 0.75
    assert share(sure) >= 0.92


@pytest.mark.parametrize("language", ["de", "fr", "es", "pt", "it", "zh", "ja"])
def test_other_languages_are_recognised(language: str) -> None:
    mine = [each for each in HELD_OUT if each["language"] == language]
    assert len(mine) >= 14
    assert share([is_right(each) for each in mine]) >= 0.7


def test_a_sure_guess_is_nearly_always_right() -> None:
    sure = [is_right(each) for each in HELD_OUT if GUESSES[each["text"]].confidence >= 0.7]
    assert len(sure) / len(HELD_OUT) >= 0.75
    assert share(sure) >= 0.97


def test_pictures_are_recognised_and_text_is_left_alone() -> None:
    wants = [task_of(each) in PICTURE_TASKS for each in HELD_OUT]
    draws = [GUESSES[each["text"]].task in PICTURE_TASKS for each in HELD_OUT]
    assert sum(want and draw for want, draw in zip(wants, draws, strict=True)) / sum(wants) >= 0.9
    assert sum(draw and not want for want, draw in zip(wants, draws, strict=True)) <= 2


@pytest.mark.parametrize(
    "prompt",
    [
        "draw a conclusion from these facts",
        "Where would you draw the line between art and kitsch?",
        "How do I draw a horse?",
        "Write an svg of a blue house",
        "plot the function with matplotlib",
        "Paint a triangle with a javascript function",
        "Which colours does the flag of Mali show: red, green, blue, yellow?",
        "Two sketches in python of a sorting algorithm",
        "Describe the picture on the wall of the haunted house in a poem",
    ],
)
def test_words_about_drawing_are_not_a_wish_for_a_picture(prompt: str) -> None:
    assert guess_task(prompt).task not in PICTURE_TASKS


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda text: f"Hi! {text}",
        lambda text: f"Please {text}",
        lambda text: f"{text} Thanks!",
        lambda text: f"  {text.replace(' ', '  ')} \n",
        lambda text: text.rstrip(".?!"),
    ],
    ids=["lower case", "greeting", "please", "thanks", "white space", "last mark"],
)
def test_what_does_not_matter_keeps_the_task(change: Callable[[str], str]) -> None:
    same = [guess_task(change(text)).task is guess.task for text, guess in GUESSES.items()]
    assert share(same) >= 0.95


def test_few_typing_errors_change_the_task() -> None:
    rng = random.Random(5)

    def mistyped(text: str) -> str:
        at = rng.randrange(len(text))
        return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]

    assert share([guess_task(mistyped(text)).task is guess.task for text, guess in GUESSES.items()]) >= 0.94


def test_a_guess_says_what_spoke_for_it() -> None:
    guess = guess_task("Translate 'good morning' to French")
    assert guess.task is Task.TRANSLATE
    assert "translate" in guess.evidence
    assert guess.is_sure
    assert guess.language == "en"
    assert sum(guess.probabilities.values()) == pytest.approx(1)
    assert list(guess.probabilities) == list(LABELS)


def test_a_subtask_belongs_to_its_task() -> None:
    for guess in GUESSES.values():
        assert not guess.subtask or LABELS[guess.subtask] is guess.task
        assert 0 <= guess.confidence <= 1


def test_what_reads_a_little_like_a_picture_is_asked_about_and_not_drawn() -> None:
    guesses = [guess_task(text) for text in ("blue hour", "a red circle", "sunset, maybe", "castles and dragons")]
    assert any(guess.may_be_picture for guess in guesses)
    assert not any(guess.may_be_picture and guess.task in PICTURE_TASKS for guess in guesses)


@pytest.mark.parametrize(
    ("earlier", "prompt", "task"),
    [
        ("Translate to German: where is the station?", "and in French?", Task.TRANSLATE),
        ("Write a python function that reverses a list", "make it shorter", Task.CODE),
        ("Write a poem about the sea", "another one", Task.WRITING),
        ("Write a poem about the sea", "make the ending darker", Task.WRITING),
        ("Write a letter to my landlord", "remove the last line", Task.WRITING),
        ("Write a poem about the sea", "turn it into a watercolor painting", Task.IMAGE_EDIT),
        ("Draw a fox in the snow", "make it blue", Task.IMAGE_EDIT),
        ("Draw a fox in the snow", "Write a python function that reverses a list", Task.CODE),
    ],
)
def test_a_follow_up_is_read_in_the_light_of_the_turn_before(earlier: str, prompt: str, task: Task) -> None:
    assert guess_task(prompt, [earlier]).task is task


def test_a_new_question_is_no_follow_up() -> None:
    assert is_follow_up("and in French?")
    assert not is_follow_up("What is the capital of France, and how many people live there today?")
    prompt = "Who wrote the novel that the film Blade Runner is based on?"
    assert guess_task(prompt, ["Draw a fox"]) == guess_task(prompt)


@pytest.mark.parametrize("prompt", ["", " \n\t", "\0\0"])
def test_nothing_asked_is_nothing_sure(prompt: str) -> None:
    guess = guess_task(prompt)
    assert guess.task is Task.CHAT
    assert not guess.is_sure


@pytest.mark.parametrize(
    "prompt",
    ["\ud800 lone", "\U0001f98a\U0001f98a", "x", "a" * 10_000_000, "draw \0 a\0 cat", "((((" * 4000, "1," * 90_000],
    ids=["surrogate", "emoji", "one letter", "ten megabytes", "nulls", "brackets", "numbers"],
)
def test_hostile_text_gets_a_guess(prompt: str) -> None:
    guess = guess_task(prompt)
    assert isinstance(guess, Guess)
    assert guess.evidence.isprintable()


def test_the_middle_of_a_long_prompt_is_not_looked_at() -> None:
    ends = ("Summarize the following report in three sentences. " * 30, " The end of the report." * 60)
    assert guess_task("x y z ".join(ends)) != guess_task("hello")
    assert guess_task(ends[0] + "a b " * 90_000 + ends[1]) == guess_task(ends[0] + "c d " * 90_000 + ends[1])


def test_importing_the_classifier_loads_neither_numpy_nor_weights() -> None:
    program = "import sys, nanolocal.routing.tasks, nanolocal.routing.router; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_the_weights_are_small_and_their_card_names_what_they_were_trained_on() -> None:
    assert (DATA / "tasks.npz").stat().st_size < 1_000_000
    card = json.loads((DATA / "tasks.json").read_text(encoding="utf-8"))
    licences = {source["name"]: source["licence"] for source in card["trained on"]}
    assert licences["databricks-dolly-15k"] == "CC BY-SA 3.0"
    assert card["licence"].startswith("CC BY-SA")
