"""What the exported build really does: counted checks and unedited samples, through llama.cpp."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from starter_text.stories import Turns, article
from starter_text.words import NUMBERS, bank, word_lists, word_pairs

SAMPLING = {"temperature": 0.6, "top_p": 0.9, "min_p": 0.05, "repeat_penalty": 1.1, "max_tokens": 300}
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Kenya": "Nairobi",
    "Egypt": "Cairo", "Norway": "Oslo", "Poland": "Warsaw", "Canada": "Ottawa", "Cuba": "Havana", "Greece": "Athens",
    "Ireland": "Dublin", "Peru": "Lima", "Portugal": "Lisbon", "Russia": "Moscow", "Sweden": "Stockholm",
    "Austria": "Vienna", "Finland": "Helsinki", "Hungary": "Budapest", "Nepal": "Kathmandu", "Chad": "N'Djamena",
    "Mongolia": "Ulaanbaatar", "Ghana": "Accra", "Uruguay": "Montevideo",
}  # fmt: skip
SAMPLES: tuple[tuple[str, ...], ...] = (
    ("Hello!", "How are you?", "Tell me a joke."),
    ("Tell me a short story about a fox.", "What is the fox's name?"),
    ("Write a poem about the moon.",),
    ("Name them\n\nthree colours",),
    ("Name 4 fruits.", "One more, please."),
    ("My name is Klaus.", "I live in Paris.", "What is my name?"),
    ("Who are you?", "What is the weather today?", "Write a Python program."),
    ("What is the capital of France?", "And Japan?"),
    ('What does "happy" mean?',),
    ("What is a volcano?",),
    ("Fix the typo: i went too teh shop yesterday",),
    ("What is 7 + 5?", "What is 348 * 27?"),
    ("Mia has a blue kite and lives in Oslo. What colour is the kite?",),
    ("Explain how a steam engine works.",),
    ("Write a story about an astronaut who bakes bread on the moon.",),
    ("Summarize the plot of Hamlet.",),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of question: how many were asked and how many answers hold."""

    name: str
    asked: int
    right: int


class Reader:
    """The build in llama.cpp, asked with its own chat template."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.llama = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False, seed=1)
        self.path = path
        self.unfinished = 0
        self.answers = 0

    def answer(self, questions: tuple[str, ...], temperature: float, seed: int = 1) -> Turns:
        """The conversation that these user turns lead to."""
        turns: Turns = []
        for question in questions:
            messages = [
                {"role": role, "content": text}
                for turn in turns
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ]
            settings = SAMPLING | {"temperature": temperature, "seed": seed}
            made = self.llama.create_chat_completion([*messages, {"role": "user", "content": question}], **settings)
            self.answers += 1
            self.unfinished += made["choices"][0]["finish_reason"] != "stop"
            turns.append((question, made["choices"][0]["message"]["content"]))
        return turns

    def ask(self, question: str, temperature: float = 0.0, seed: int = 1) -> str:
        """The answer to one question."""
        return self.answer((question,), temperature, seed)[0][1]


def story_check(reader: Reader, rng: random.Random) -> Check:
    """Stories at the shipped sampling: the subject is named at least once, and no sentence comes twice."""
    subjects = rng.sample(bank("animals"), 20) + rng.sample(bank("people"), 10)
    right = 0
    for seed, subject in enumerate(subjects):
        story = reader.ask(f"Tell me a short story about {article(subject)}.", 0.6, seed)
        sentences = re.findall(r"[^.!?]{12,}[.!?]", story)
        right += subject in story.lower() and len(story) > 150 and len(set(sentences)) == len(sentences)
    return Check("stories about the subject asked for (30 subjects)", len(subjects), right)


def naming_check(reader: Reader, rng: random.Random) -> Check:
    """Ask for "three colours", also in its piped form: as many different things as asked, all of the right kind."""
    asked = right = 0
    for group in word_lists()[:30]:
        count = rng.choice((2, 3, 4))
        for question in (
            f"Name {NUMBERS[count]} {group.plural[0]}.",
            f"Name them\n\n{NUMBERS[count]} {group.plural[0]}",
        ):
            found = [item.lower() for item in re.split(r", | and ", reader.ask(question).rstrip("."))]
            asked += 1
            right += len(set(found)) == count == len(found) and set(found) <= {item.lower() for item in group.items}
    return Check("lists with the right number of right things", asked, right)


def run_checks(reader: Reader) -> list[Check]:
    """All checks; greedy but for the stories."""
    rng = random.Random(7)
    opposites = word_pairs()["opposite"][:30]
    sums = [(a, b) for a in range(6) for b in range(6)]
    names = ("Anna", "Klaus", "Priya", "Tom", "Zoltan", "Maya", "Bertha", "Finn", "Ingrid", "Omar")
    found_capitals = [city in reader.ask(f"What is the capital of {land}?") for land, city in CAPITALS.items()]
    found_opposites = [f" {b}." in reader.ask(f"What is the opposite of {a}?") for a, b in opposites]
    found_sums = [reader.ask(f"What is {a} + {b}?").endswith(f"= {a + b}") for a, b in sums]
    found_names = [name in reader.answer((f"My name is {name}.", "What is my name?"), 0.0)[1][1] for name in names]
    return [
        story_check(reader, rng),
        naming_check(reader, rng),
        Check("capitals (25 countries)", len(CAPITALS), sum(found_capitals)),
        Check("opposites", len(opposites), sum(found_opposites)),
        Check("sums up to 5 + 5", len(sums), sum(found_sums)),
        Check("the user's name one turn later", len(names), sum(found_names)),
    ]
