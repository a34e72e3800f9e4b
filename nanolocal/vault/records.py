"""How a route is written down beside its answer: JSON that shows and exports can read without the program's classes."""

import json
from dataclasses import asdict

from nanolocal.chat.routes import Route


def route_record(route: Route) -> str:
    """The decision as JSON: task, build, why, who else, and the case that gives the same pick when recomputed."""
    record = {
        "task": route.task,
        "subtask": route.subtask,
        "build": route.build.id,
        "sha256": route.build.sha256,
        "model": route.build.name,
        "n_ctx": route.n_ctx,
        "confidence": route.confidence,
        "score": route.score,
        "reasons": route.reasons,
        "runners_up": [asdict(other) for other in route.runners_up],
        "rejected": [asdict(other) for other in route.rejected],
        "instead": route.instead,
        "case": route.case,
    }
    return json.dumps(record)
