"""What ``doctor`` says of an engine's isolation."""

import pytest

from nanolocal.cli.checkup import _isolation


@pytest.mark.parametrize(
    ("landlock", "has_filter", "problems", "says"),
    [
        (7, True, [], "a bad model file reaches none of your files, no network, no program (Landlock 7, seccomp)"),
        (1, False, ["seccomp: none"], "a bad model file reaches none of your files (Landlock 1); seccomp: none"),
        (0, True, ["Landlock: off"], "a bad model file reaches no network, no program (seccomp); Landlock: off"),
        (0, False, ["Landlock: off", "seccomp: none"],
         "a bad model file could do what you can: Landlock: off; seccomp: none"),
    ],
)  # fmt: skip
def test_it_says_what_is_spared_and_what_is_not(
    landlock: int, has_filter: bool, problems: list[str], says: str
) -> None:
    assert _isolation({"landlock": landlock, "has_filter": has_filter, "problems": problems}) == says
