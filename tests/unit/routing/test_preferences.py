"""Names with endings: auto:fast, auto:cheap, MODEL:thinking."""

import pytest

from nanolocal.errors import UsageError
from nanolocal.routing.preferences import Asked, asked


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (None, Asked(None)),
        ("auto", Asked(None)),
        ("auto:fast", Asked(None, "fast")),
        ("auto:latency", Asked(None, "fast")),
        ("AUTO:Floor", Asked(None, "cheap")),
        ("auto-model-premium", Asked(None, "quality")),
        ("auto:basic", Asked(None, "cheap")),
        ("auto:fast:thinking", Asked(None, "fast", thinking=True)),
        ("auto:caching", Asked(None)),
        ("qwen3:4b:fast", Asked("qwen3:4b", "fast")),
        ("qwen3:Q4_K_M", Asked("qwen3:Q4_K_M")),
    ],
)
def test_a_name_says_which_build_and_what_counts(name: str | None, meant: Asked) -> None:
    assert asked(name) == meant


@pytest.mark.parametrize(
    "name", ["auto:fast:cheap", "auto-model-basic:premium", "auto:online", "auto:memory-30", "x:tools"]
)
def test_what_contradicts_itself_or_cannot_be_had_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match=r"contradict|cannot be had"):
        asked(name)
