"""A wish for a change joined to the words of the picture before it."""

import pytest

from nanolocal.chat.changes import Described, described


@pytest.mark.parametrize(
    ("before", "wish", "prompt"),
    [
        ("a red circle", "make it blue", "a blue circle"),
        ("a red circle", "Now make it light green, please!", "a light green circle"),
        ("three red circles and a blue square", "make the circles yellow", "three yellow circles and a blue square"),
        ("a big red circle on white", "make it blue", "a big blue circle on white"),
        ("a house with a tree", "make the house blue", "a blue house with a tree"),
        ("a red circle and a blue square", "make it green", "a red circle and a blue square, green"),
        ("a house", "make the roof red", "a house, red roof"),
        ("a house with a tree", "now at night", "a house with a tree, at night"),
        ("a house", "the same with a boat", "a house, with a boat"),
        ("a fox in the snow", "same thing but in the desert", "a fox in the snow, in the desert"),
        ("a fox in the snow", "turn it into a watercolour", "a fox in the snow, a watercolour"),
        ("a fox in the snow", "replace the snow with sand", "a fox in the sand"),
        ("a fox in the snow", "turn the fox into a wolf", "a wolf in the snow"),
        ("a house.", "add a yellow star in the corner", "a house, a yellow star in the corner"),
        ("a house", "could you make it bigger?", "a house, bigger"),
        ("ein Haus", "mach es größer", "ein Haus, mach es größer"),
        ("a house", "?", "a house, ?"),
        ("", "make it blue", ", blue"),
    ],
)
def test_a_change_is_told_together_with_what_was_there(before: str, wish: str, prompt: str) -> None:
    assert described(before, wish) == Described(prompt)


@pytest.mark.parametrize(
    ("before", "wish", "prompt", "negative"),
    [
        ("a small house with a tree, under the moon", "remove the tree", "a small house, under the moon", "tree"),
        ("a small house with a tree, under the moon", "without the moon", "a small house with a tree", "moon"),
        ("a house, two trees and a boat", "remove the trees", "a house and a boat", "trees"),
        ("a house", "remove the dog", "a house", "dog"),
    ],
)
def test_what_is_to_go_is_left_out_and_kept_out(before: str, wish: str, prompt: str, negative: str) -> None:
    assert described(before, wish) == Described(prompt, negative)


@pytest.mark.parametrize(
    "wish",
    [
        "make " * 2_000,
        "make" + " " * 100_000 + "x",
        "remove " + "x" * 20_000,
        "replace (( with ))",
        "add \\1",
        "\ud800",
    ],
)
def test_hostile_wishes_end(wish: str) -> None:
    assert described("a [house] (with) a \\tree", wish).prompt
