"""How a route is written down beside its answer: JSON that shows and exports can read without the program's classes."""

import json

from nanolocal.chat.decisions import as_record
from nanolocal.chat.routes import Route


def route_record(route: Route) -> str:
    """The decision as JSON text."""
    return json.dumps(as_record(route))
