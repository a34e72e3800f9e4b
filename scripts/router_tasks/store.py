"""Write the weights as eight-bit numbers, and the card that goes with them; the same weights give the same bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nanolocal.routing.features import VERSION
from nanolocal.routing.labels import LABELS
from router_tasks.learn import Learned
from router_tasks.rows import Row

LIMITS = {"sure": 0.5, "picture": 0.7, "maybe_picture": 0.12}
_CLIPPED = 0.9995
"""The share of weights that eight bits hold; the few beyond it are cut."""

SOURCES = (
    ("nanolocal's own prompts", "scripts/router_tasks/prompts", "Apache-2.0"),
    ("databricks-dolly-15k", "Databricks, Inc.; github.com/databrickslabs/dolly", "CC BY-SA 3.0"),
    ("self-instruct, 175 human seed tasks", "github.com/yizhongw/self-instruct", "Apache-2.0"),
    ("Open-Assistant, en_100_tree", "LAION and contributors; github.com/LAION-AI/Open-Assistant", "Apache-2.0"),
    ("GSM8K, training part", "OpenAI; github.com/openai/grade-school-math", "MIT"),
    ("FairytaleQA, questions of the training part", "github.com/uci-soe/FairytaleQAData", "Apache-2.0"),
    ("OpenTriviaQA", "github.com/uberspot/OpenTriviaQA", "CC BY-SA 4.0"),
    ("OneStopEnglish", "github.com/nishkalavallabhi/OneStopEnglishCorpus", "CC BY-SA 4.0"),
    (
        "Schema-Guided Dialogue",
        "Google; github.com/google-research-datasets/dstc8-schema-guided-dialogue",
        "CC BY-SA 4.0",
    ),
    ("Wikipedia featured articles", "Wikipedia contributors; en.wikipedia.org", "CC BY-SA 3.0"),
    ("OpenStax textbooks", "OpenStax College; openstax.org", "CC BY 3.0"),
    ("Pratham Books and African Storybook", "writers named in the books", "CC BY"),
    ("tldr-pages", "github.com/tldr-pages/tldr", "CC BY 4.0"),
    ("self-dialogue corpus", "github.com/jfainberg/self_dialogue_corpus", "BSD-3-Clause"),
    ("ChatterBot corpus", "github.com/gunthercox/chatterbot-corpus", "BSD-3-Clause"),
)


def store(
    learned: Learned,
    temperature: float,
    caution: float,
    rows: Sequence[Row],
    folder: Path,
    unseen: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write ``tasks.npz`` (no pickle, not compressed) and ``tasks.json`` into ``folder``.

    ``unseen`` are figures by source, measured while that source was left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scales = np.maximum(np.quantile(np.abs(learned.weights), _CLIPPED, axis=0), 1e-6) / 127
    table = np.clip(np.round(learned.weights / scales), -127, 127).astype(np.int8)
    np.savez(folder / "tasks.npz", keys=learned.keys, table=table, scales=scales.astype(np.float32))
    card = _card(temperature, caution, rows) | {"on sources left out of training": unseen or {}}
    (folder / "tasks.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _card(temperature: float, caution: float, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "what": "nanolocal's task classifier: a softmax regression over hashed words and shapes of a prompt.",
        "made by": "scripts/train_router.py; scripts/eval_router.py measures it.",
        "licence": "CC BY-SA 4.0, for the share-alike text it was trained on; attribution below. It holds no text.",
        "features": VERSION,
        "labels": list(LABELS),
        "temperature": round(temperature, 3),
        "limits": LIMITS | {"caution": round(caution, 3)},
        "rows": dict(sorted(Counter(row.source for row in rows).items())),
        "trained on": [{"name": name, "by": by, "licence": licence} for name, by, licence in SOURCES],
    }
