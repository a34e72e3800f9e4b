"""Numbers of a projector over which llama.cpp would end the process."""

import pytest

from nanolocal.formats.projectors import check_projector, hears, sees, type_of
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


EARS: dict[str, object] = {
    "clip.has_audio_encoder": True,
    "clip.audio.projector_type": "ultravox",
    "clip.audio.projector.stack_factor": 8,
    "clip.audio.embedding_length": 1280,
    "clip.audio.attention.head_count": 20,
    "clip.audio.block_count": 32,
    "clip.audio.num_mel_bins": 128,
}


def test_what_a_projector_is_for_stands_in_its_header() -> None:
    eyes = {"clip.has_vision_encoder": True, "clip.has_audio_encoder": False}
    voice = {
        "clip.has_audio_encoder": True,
        "clip.has_gen_audio_encoder": True,
        "clip.projector_type": "qwen3tts_spkenc",
    }
    found = [(sees(metadata), hears(metadata)) for metadata in (eyes, EARS, EARS | {"clip.has_vision_encoder": True})]
    assert found == [(True, False), (False, True), (True, True)]
    assert (sees({}), hears({})) == (True, False)
    assert (sees(voice), hears(voice)) == (False, False)


def test_ears_that_are_like_real_ones_pass() -> None:
    check_projector(EARS)
    check_projector(EARS | {"clip.audio.projector_type": "voxtral", "clip.audio.projector.stack_factor": 4})
    no_layers = dict.fromkeys(("attention.head_count", "block_count", "feed_forward_length"), 0)
    check_projector(
        {"clip.audio.projector_type": "gemma4ua"} | {f"clip.audio.{key}": n for key, n in no_layers.items()}
    )


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("clip.audio.projector_type", 7, "is no text"),
        ("clip.audio.projector.stack_factor", 0, "stack_factor is '0', not 1 to"),
        ("clip.audio.block_count", 0, "block_count is '0', not 1 to"),
        ("clip.audio.num_mel_bins", -1, "not 1 to"),
        ("clip.audio.attention.head_count", 7, "cannot be shared by 7 heads"),
    ],
)
def test_a_number_of_the_ears_that_ends_llama_cpp_is_refused(key: str, value: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_projector(EARS | {key: value})


def test_frames_that_llama_cpp_counts_in_two_ways_are_refused() -> None:
    narrow = {"clip.audio.embedding_length": 1024, "clip.audio.attention.head_count": 16}
    with pytest.raises(Refused, match="1024 numbers cannot be stacked by 8"):
        check_projector(EARS | narrow)


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
