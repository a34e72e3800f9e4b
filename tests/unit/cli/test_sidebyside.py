"""Bars of the terminal, exact to an eighth of a column."""

import pytest

from nanolocal.cli.sidebyside import bar


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (1 / 320, "▏"), (0.5, "█" * 20), (20.5 / 40, "█" * 20 + "▌"), (1.0, "█" * 40)]
)
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share) == drawn
