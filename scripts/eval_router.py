"""Measure the task classifier on text it never saw: by source, task and language, under noise, and pictures."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router_tasks.rows import Row

    from nanolocal.routing.tasks import Guess

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = ROOT / "tests/data/router_heldout.jsonl"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder with text/ and tasks/")
    parser.add_argument("--held-out", type=Path, default=HELD_OUT, help="prompts of which none is trained on")
    parser.add_argument("--quick", action="store_true", help="only the stored weights on the held-out prompts")
    parser.add_argument(
        "--wrong", action="store_true", help="list the held-out prompts that are taken for another task"
    )
    return parser.parse_args(words)


def held_out(path: Path) -> list[Row]:
    """The prompts written by hand for measuring."""
    from router_tasks.rows import Row

    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Row(each["text"], tuple(each["label"].split("|")), f"{each['set']} set", each["language"]) for each in records
    ]


def is_right(row: Row, guess: Guess) -> bool:
    """Whether the task is one of those that are right for the prompt."""
    from nanolocal.routing.labels import LABELS

    return guess.task in {LABELS[label] for label in row.labels}


def line(name: str, rows: Sequence[Row], guesses: Sequence[Guess]) -> str:
    """Accuracy by task and by fine label, then coverage and accuracy at three confidences."""
    right = [is_right(row, guess) for row, guess in zip(rows, guesses, strict=True)]
    fine = [(guess.subtask or guess.task) in row.labels for row, guess in zip(rows, guesses, strict=True)]
    parts = [f"{name:28}{len(rows):6}  task {share(right)}  fine {share(fine)} "]
    for least in (0.5, 0.7, 0.9):
        sure = [ok for ok, guess in zip(right, guesses, strict=True) if guess.confidence >= least]
        parts.append(f" {least}: {len(sure) / len(rows):4.0%} at {share(sure)}")
    return "".join(parts)


def share(flags: Sequence[bool]) -> str:
    """A share in per cent."""
    return f"{sum(flags) / len(flags):6.1%}" if flags else "     -"


def report_held_out(rows: Sequence[Row], show_wrong: bool) -> None:
    """Everything about the stored weights."""
    from nanolocal.routing.labels import LABELS
    from nanolocal.routing.tasks import guess_task

    guesses = [guess_task(row.text) for row in rows]
    print("\nThe stored weights on prompts written for measuring")
    print(line("held out", rows, guesses))
    print_groups(rows, guesses, lambda row: row.source)
    print_groups(rows, guesses, lambda row: row.language)
    print_groups(rows, guesses, lambda row: str(LABELS[row.labels[0]]))
    report_pictures(rows, guesses)
    report_confusion(rows, guesses)
    report_stability(rows, guesses)
    report_speed(rows)
    for row, guess in zip(rows, guesses, strict=True) if show_wrong else ():
        if not is_right(row, guess):
            print(f"  {row.labels[0]} -> {guess.subtask or guess.task} {guess.confidence:.2f} {row.text[:90]!r}")


def print_groups(rows: Sequence[Row], guesses: Sequence[Guess], name_of: Callable[[Row], str]) -> None:
    """A line for each group of rows, in the order of their first rows."""
    groups: dict[str, list[tuple[Row, Guess]]] = {}
    for row, guess in zip(rows, guesses, strict=True):
        groups.setdefault(name_of(row), []).append((row, guess))
    for name, group in groups.items():
        print(line(f"  {name}", [row for row, _ in group], [guess for _, guess in group]))


def report_pictures(rows: Sequence[Row], guesses: Sequence[Guess]) -> None:
    """Text taken for a picture, pictures taken for text, and how often the app would ask."""
    from nanolocal.routing.labels import LABELS, PICTURE_TASKS

    wants = [LABELS[row.labels[0]] in PICTURE_TASKS for row in rows]
    draws = [guess.task in PICTURE_TASKS for guess in guesses]
    false = [draw for want, draw in zip(wants, draws, strict=True) if not want]
    found = [draw for want, draw in zip(wants, draws, strict=True) if want]
    asked = [guess.may_be_picture for want, guess in zip(wants, guesses, strict=True) if not want]
    missed = [guess.may_be_picture for want, guess in zip(wants, guesses, strict=True) if want]
    print(f"text sent to pictures {share(false)}, asked about {share(asked)}")
    print(f"pictures recognised {share(found)}, asked about {share(missed)}")


def report_confusion(rows: Sequence[Row], guesses: Sequence[Guess]) -> None:
    """The table: a row a right task, a column a guess."""
    from nanolocal.routing.labels import LABELS

    tasks = list(dict.fromkeys(LABELS.values()))
    seen = Counter((LABELS[row.labels[0]], guess.task) for row, guess in zip(rows, guesses, strict=True))
    print(f"{'':11}" + "".join(f"{task[:9]:>10}" for task in tasks))
    for right in tasks:
        print(f"{right:11}" + "".join(f"{seen[right, task] or '.':>10}" for task in tasks))


def report_stability(rows: Sequence[Row], guesses: Sequence[Guess]) -> None:
    """How often the task stays the same under changes that must not matter."""
    from router_tasks.noise import CHANGES

    from nanolocal.routing.tasks import guess_task

    for name, change in CHANGES.items():
        rng = random.Random(11)
        same = [guess_task(change(row.text, rng)).task is old.task for row, old in zip(rows, guesses, strict=True)]
        print(f"same task under {name:14} {share(same)}")


def report_speed(rows: Sequence[Row]) -> None:
    """Milliseconds of processor time a guess takes here."""
    from nanolocal.routing.tasks import guess_task

    for name, texts in (("usual", [row.text for row in rows]), ("long", [row.text * 60 for row in rows[:60]])):
        took = []
        for text in texts:
            began = time.process_time()
            guess_task(text)
            took.append(time.process_time() - began)
        took.sort()
        print(
            f"{name} prompts: p50 {took[len(took) // 2] * 1e3:.2f} ms, p95 {took[len(took) * 95 // 100] * 1e3:.2f} ms"
        )


def report_sources(data: Path, rows: Sequence[Row]) -> None:
    """Train without any of the labelled public sources, then judge each of them."""
    import tempfile

    from router_tasks.corpus import LABELLED, collect, family, to_train_on, without
    from router_tasks.judge import best_temperature, careful_temperature, scores_of
    from router_tasks.learn import Plan, examples_of, learn
    from router_tasks.store import store

    from nanolocal.routing.labels import PICTURE_TASKS
    from nanolocal.routing.tasks import guess_task
    from nanolocal.routing.weights import weights

    everything = collect(data, Plan().seed)
    seen = without(everything, LABELLED)
    learned = learn(examples_of(to_train_on(seen, Plan().seed)), Plan())
    unseen = [row for row in everything if family(row) in LABELLED]
    sample = unseen[::4]
    temperature = best_temperature(scores_of(learned, sample), sample)
    caution = careful_temperature(scores_of(learned, sample), sample) / temperature
    with tempfile.TemporaryDirectory() as folder:
        store(learned, temperature, caution, seen, Path(folder))
        stored = weights(Path(folder))
    guesses = [guess_task(row.text, using=stored) for row in unseen]
    print(f"\nTrained without {', '.join(LABELLED)}; temperature {temperature:.2f}")
    print_groups(unseen, guesses, family)
    print_groups(unseen, guesses, lambda row: row.source)
    false = sum(guess.task in PICTURE_TASKS for guess in guesses)
    print(f"text sent to pictures {false / len(unseen):.2%} of {len(unseen)}")
    print_groups(rows, [guess_task(row.text, using=stored) for row in rows], lambda row: row.source)


def main(words: list[str] | None = None) -> int:
    """Print all tables."""
    chosen = arguments(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
    rows = held_out(chosen.held_out)
    report_held_out(rows, chosen.wrong)
    if not chosen.quick:
        report_sources(chosen.data, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
