"""The options of ``nanolocal image`` that say how it is drawn."""

import argparse
from pathlib import Path

import pytest

from nanolocal.cli import drawing
from nanolocal.errors import UsageError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    drawing.add(parser)
    return parser.parse_args(words)


def test_loras_are_named_with_and_without_weights() -> None:
    wished = drawing.wished(
        parsed("--lora", "paint", "--lora", "ink:0.5", "--lora", "a:b", "--lora", "/x/y.safetensors:-1")
    )
    assert wished.adapters == (("paint", 1.0), ("ink", 0.5), ("a:b", 1.0), ("/x/y.safetensors", -1.0))


def test_files_are_read_and_must_be_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    (tmp_path / "a.txt").write_bytes(b"text")
    args = parsed("--from", str(tmp_path / "a.png"), "--mask", str(tmp_path / "a.png"), "--count", "3")
    assert [item.data for item in drawing.source(args)] == [b"png"]
    assert (drawing.wished(args).mask, drawing.wished(args).control, drawing.wished(args).count) == (b"png", None, 3)
    assert drawing.source(parsed("--attach", str(tmp_path / "a.png"))) == drawing.source(args)
    with pytest.raises(UsageError, match=r"a\.txt is no picture"):
        drawing.wished(parsed("--mask", str(tmp_path / "a.txt")))
    with pytest.raises(UsageError, match="cannot read"):
        drawing.wished(parsed("--control", str(tmp_path / "b.png")))


def test_several_pictures_are_numbered() -> None:
    assert [str(path) for path in drawing.places(Path("x/cat.png"), 3)] == ["x/cat.png", "x/cat-2.png", "x/cat-3.png"]
    assert [str(path) for path in drawing.places(Path("cat"), 1)] == ["cat"]
