"""How a route is written down beside its answer: JSON that shows and exports can read without the program's classes."""

import json
from dataclasses import asdict

from nanolocal.chat.routes import Route


def route_record(route: Route) -> str:
    """The decision as JSON: task, build, confidence, score, reasons, runners_up, rejected."""
    record = {
        "task": route.task,
        "build": route.build.id,
        "model": route.build.name,
        "n_ctx": route.n_ctx,
        "confidence": route.confidence,
        "score": route.score,
        "reasons": route.reasons,
        "runners_up": [asdict(other) for other in route.runners_up],
        "rejected": [asdict(other) for other in route.rejected],
    }
    return json.dumps(record)
