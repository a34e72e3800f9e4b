"""Numbers of a projector over which llama.cpp would end the process."""

import pytest

from nanolocal.formats.projectors import check_projector, type_of
from nanolocal.formats.refusal import Refused

SOUND: dict[str, object] = {
    "clip.projector_type": "gemma3",
    "clip.vision.image_size": 896,
    "clip.vision.patch_size": 14,
    "clip.vision.embedding_length": 1152,
    "clip.vision.attention.head_count": 16,
    "clip.vision.block_count": 27,
}


def test_a_sound_projector_passes_and_one_without_keys_is_left_to_llama_cpp() -> None:
    check_projector(SOUND)
    check_projector({})
    assert type_of(SOUND) == "gemma3"
    assert type_of({"clip.vision.projector_type": "gemma4v"}) == "gemma4v"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("clip.projector_type", 7, "is no text"),
        ("clip.vision.patch_size", 0, "not 1 to"),
        ("clip.vision.image_size", 2**31, "not 1 to"),
        ("clip.vision.block_count", True, "not 1 to"),
        ("clip.vision.embedding_length", "1152", "not 1 to"),
        ("clip.vision.attention.head_count", 7, "cannot be shared by 7 heads"),
        ("clip.vision.patch_size", 1000, "larger than its pictures"),
    ],
)
def test_a_number_that_ends_llama_cpp_is_refused(key: str, value: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_projector(SOUND | {key: value})
