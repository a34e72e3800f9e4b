"""Names from the network: what no file may be called on POSIX or Windows is refused before anything is written."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.errors import UsageError
from nanolocal.library.pull.names import checked, checked_all
from tests.hub.stored import HOSTILE_NAMES


@pytest.mark.parametrize("name", [
    *HOSTILE_NAMES,
    "a/b/../../../x.gguf", "nul", "NUL.tar.gguf", "com1.gguf", "LPT9", "COM¹.gguf", "CONIN$", "a:b.gguf",
    "a\\b.gguf", "a/.git/x.gguf", "~root/x.gguf", " x.gguf", "a/x.gguf/", "x\x7f.gguf", "x\udc80.gguf", "a?.gguf",
    "\u200bx.gguf", "x" * 201, "/".join("abcdefghi"), "a /x.gguf", "aux /x.gguf",
])  # fmt: skip
def test_a_name_that_could_reach_anything_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="refused"):
        checked(name)


@pytest.mark.parametrize("name", [
    "x.gguf", "Q4_K_M/x-00001-of-00002.gguf", "unet/diffusion_pytorch_model.fp16.safetensors", "Modèle 7B (v2).gguf",
    "模型-Q8_0.gguf", "console.gguf", "x..y.gguf", "a+b=c,d.gguf",
])  # fmt: skip
def test_a_usual_name_is_taken_as_it_is(name: str) -> None:
    assert checked(name) == name


@given(st.text(alphabet=string.printable + "\\/:.~\u202e\x00é", max_size=30))
def test_whatever_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        checked(name)
    except UsageError:
        return
    inside = os.path.normpath(Path("/library/folder") / name)
    assert inside.startswith("/library/folder/")
    assert inside == f"/library/folder/{name}"


@pytest.mark.parametrize("names", [
    ("Model.gguf", "model.gguf"), ("caf\u00e9.gguf", "cafe\u0301.gguf"), ("x.gguf", "x.gguf"), ("a", "a/x.gguf"),
    ("A/x.gguf", "a"), ("ﬁ.gguf".replace("ﬁ", "STRASSE"), "straße.gguf"),
])  # fmt: skip
def test_two_names_of_one_file_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        checked_all(names)


def test_names_that_differ_are_all_taken() -> None:
    names = ("a/x.gguf", "a/y.gguf", "b/x.gguf", "x.gguf")
    assert checked_all(names) == names
