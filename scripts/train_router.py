"""Train the task classifier; write its weights and card to nanolocal/routing/data/, the same bytes every time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder with text/ and tasks/")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "nanolocal/routing/data", help="where the weights are written"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="a cut of our own prompts, one pass: seconds, for the tests"
    )
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Train, calibrate, write."""
    chosen = arguments(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
    from router_tasks.corpus import LABELLED, collect, family, own, to_train_on, without
    from router_tasks.judge import best_temperature, careful_temperature, figures, scores_of
    from router_tasks.learn import Plan, examples_of, learn
    from router_tasks.public import to_learn_from
    from router_tasks.store import store

    began = time.process_time()
    rows = own(chosen.seed)[::12] if chosen.tiny else collect(chosen.data, chosen.seed)
    plan = Plan(seed=chosen.seed, epochs=1, runs=1) if chosen.tiny else Plan(seed=chosen.seed)
    print(f"{len(rows):,} prompts read, {time.process_time() - began:.0f} s of processor time", flush=True)
    temperature, careful, measured = 1.0, 1.0, {}
    unseen = [row for row in rows if family(row) in LABELLED]
    if unseen:
        first = learn(examples_of(to_train_on(without(rows, LABELLED), chosen.seed)), plan)
        fair = to_learn_from(unseen)
        temperature = best_temperature(scores_of(first, fair), fair)
        careful = careful_temperature(scores_of(first, unseen), unseen)
        for source in LABELLED:
            mine = [row for row in unseen if family(row) == source]
            measured[source] = figures(scores_of(first, mine), mine, careful)
        measured["all of these"] = figures(scores_of(first, unseen), unseen, careful)
        mine = [row for row in fair if family(row) == "dolly"]
        measured["dolly, its second labels allowed"] = figures(scores_of(first, mine), mine, careful)
        found = f"temperature {temperature:.2f}, careful {careful:.2f}"
        print(f"{found}, {time.process_time() - began:.0f} s of processor time", flush=True)
    learned = learn(examples_of(to_train_on(rows, chosen.seed)), plan)
    store(learned, temperature, careful / temperature, rows, chosen.out, measured)
    size = (chosen.out / "tasks.npz").stat().st_size
    print(
        f"{len(learned.keys):,} features, {size:,} bytes, {time.process_time() - began:.0f} s of processor time",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
