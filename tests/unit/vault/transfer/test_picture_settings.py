"""What picture files tell of how they were drawn: what goes out, what comes in, and what must do neither."""

import json
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.messages import Attachment, Role
from nanolocal.errors import Damaged, UsageError
from nanolocal.vault.transfer import parameters, png
from nanolocal.vault.transfer.picturefiles import as_chat, leaving, settings_in
from nanolocal.vault.transfer.samplers import sampler_of, scheduler_of

RECEIPT = PictureReceipt(
    "pine:f16", "ab" * 32, 'a "red" circle, oil: on canvas\nsecond line', 64, 48, 20, 3.5, 2**40, "blurry, text",
    "DPMSolverMultistepScheduler", 0.7, "cd" * 32, adapters=(("ef" * 32, 0.5),), rung="half", dtype="float16",
    threads=2, versions=(("torch", "2.13.0"),),
)  # fmt: skip
A1111 = """masterpiece, a fox (in the snow:1.3), <lora:winter_v2:0.8> forest
Negative prompt: lowres, (worst quality:1.4)
blurry
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 1234567890, Size: 512x768, Model hash: 6ce0161689, \
Model: v1-5-pruned-emaonly, Denoising strength: 0.55, Clip skip: 2, Hires upscale: 2, Hires upscaler: Latent, \
Lora hashes: "winter_v2: 0a1b2c3d4e5f", Version: v1.9.4"""
FORGE = """a red barn at dawn
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 42, Size: 896x1152, \
Model hash: 4610115bb0, Model: flux1-dev-fp8, ControlNet 0: "Module: canny, Model: flux-canny, Weight: 1.0", \
Version: f2.0.1v1.10.1"""
COMFY = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 156680208700286, "steps": 25, "cfg": 8.0, "sampler_name": "euler_ancestral", "scheduler": "normal",
        "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD15\\dreamshaper_8.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass bottle with a galaxy inside", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "10": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "glass.safetensors", "strength_model": 0.75, "strength_clip": 1.0, "model": ["4", 0]}},
}  # fmt: skip
COMFY_FLUX = {
    "13": {"class_type": "SamplerCustomAdvanced", "inputs": {
        "noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0], "latent_image": ["27", 0]}},
    "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 99}},
    "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
    "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["11", 0]}},
    "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "17": {"class_type": "BasicScheduler", "inputs": {
        "scheduler": "simple", "steps": 20, "denoise": 1.0, "model": ["12", 0]}},
    "27": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
}  # fmt: skip
WORKFLOW = {
    "nodes": [
        {"id": 3, "type": "KSampler", "widgets_values": [7, "randomize", 20, 8, "dpmpp_2m", "karras", 0.6],
         "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 4}, {"name": "negative", "link": 6}]},
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["sdxl.safetensors"]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a boat"], "inputs": []},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["people"], "inputs": []},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [4, 6, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"]],
}  # fmt: skip


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), **saved: object) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, "red").save(out, kind, **saved)
    return out.getvalue()


def with_chunk(name: bytes, body: bytes, data: bytes = b"") -> bytes:
    """A chunk right after the header."""
    whole = data or picture()
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return whole[:33] + chunk + whole[33:]


def chunk_names(data: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(data):
        names.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return names


def drawn(receipt: PictureReceipt = RECEIPT) -> Attachment:
    return Attachment("picture.png", "image/png", picture(), receipt.to_json())


def test_an_export_has_pixels_and_nothing_else() -> None:
    told = with_chunk(b"tEXt", b"Comment\0secret words", with_chunk(b"eXIf", b"MM secret place"))
    told += b"secret after the end"
    bare = leaving(Attachment("a.png", "image/png", told, RECEIPT.to_json()))
    assert chunk_names(bare) == [b"IHDR", b"IDAT", b"IEND"]
    assert b"secret" not in bare
    with Image.open(BytesIO(bare)) as read:
        assert (read.size, read.info, read.getpixel((0, 0))) == ((8, 6), {}, (255, 0, 0))


def test_a_photo_leaves_upright_and_without_its_place() -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "secret place", 6
    photo = Attachment("a.jpg", "image/jpeg", picture("JPEG", exif=exif))
    bare = leaving(photo)
    assert b"secret" not in bare
    with Image.open(BytesIO(bare)) as read:
        assert (read.format, read.size) == ("PNG", (6, 8))
    assert leaving(photo, with_metadata=True) == photo.data


def test_an_export_with_metadata_is_read_by_others_and_by_us_exactly() -> None:
    data = leaving(drawn(), with_metadata=True)
    with Image.open(BytesIO(data)) as read:
        text = str(read.info["parameters"])
    assert (
        "\nNegative prompt: blurry, text\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 3.5, Seed: 1099511627776, " in text
    )
    assert 'Size: 64x48, Model hash: ababababab, Model: "pine:f16", Denoising strength: 0.7, ' in text
    assert settings_in(data) == RECEIPT
    assert settings_in(leaving(drawn())) is None


SHORT_WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60).map(str.strip)
WORDS = SHORT_WORDS.filter(lambda text: "<" not in text and not text.startswith("Negative prompt:"))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}(:[A-Za-z0-9_]{1,8})?", fullmatch=True)
NUMBERS = st.floats(0, 999, allow_nan=False)


@given(
    st.builds(
        PictureReceipt, NAMES, st.text("0123456789abcdef", min_size=10, max_size=10), WORDS, st.integers(1, 16384),
        st.integers(1, 16384), st.integers(1, 10_000), NUMBERS, st.integers(0, 2**64 - 1), WORDS,
        st.sampled_from(["", "DDIMScheduler", "EulerAncestralDiscreteScheduler", "OwnScheduler"]), st.floats(0, 1),
        controlnet=st.sampled_from(["", "canny", "depth-v2"]),
        adapters=st.lists(
            st.tuples(st.text("0123456789abcdef", min_size=12, max_size=12), st.floats(-4, 4)), max_size=3,
            unique_by=lambda each: each[0],
        ).map(tuple),
    )
)  # fmt: skip
def test_what_the_form_of_others_can_hold_comes_back_exactly(receipt: PictureReceipt) -> None:
    assert parameters.read(parameters.written(receipt, "1.0")) == receipt


def test_settings_of_automatic1111_are_read() -> None:
    found = settings_in(with_chunk(b"tEXt", b"parameters\0" + A1111.encode("latin-1")))
    assert found == PictureReceipt(
        "v1-5-pruned-emaonly", "6ce0161689", "masterpiece, a fox (in the snow:1.3), forest", 512, 768, 28, 6.5,
        1234567890, "lowres, (worst quality:1.4)\nblurry", "DPMSolverMultistepScheduler", 0.55,
        adapters=(("0a1b2c3d4e5f", 0.8),),
    )  # fmt: skip


def test_settings_of_forge_are_read_from_a_text_in_unicode() -> None:
    body = b"parameters\0\1\0\0\0" + zlib.compress(FORGE.replace("barn", "Scheune ä 漢").encode())
    found = settings_in(with_chunk(b"iTXt", body))
    assert found is not None
    assert (found.prompt, found.build_id) == ("a red Scheune ä 漢 at dawn", "flux1-dev-fp8")
    assert (found.guidance, found.controlnet, found.scheduler) == (1.0, "flux-canny", "EulerDiscreteScheduler")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ({"prompt": COMFY}, PictureReceipt(
            "dreamshaper_8", "", "a glass bottle with a galaxy inside", 640, 512, 25, 8.0, 156680208700286,
            "text, watermark", "EulerAncestralDiscreteScheduler", adapters=(("glass", 0.75),))),
        ({"prompt": COMFY_FLUX}, PictureReceipt(
            "flux1-dev", "", "a lighthouse", 1024, 1024, 20, 3.5, 99, "", "EulerDiscreteScheduler")),
        ({"workflow": WORKFLOW}, PictureReceipt(
            "sdxl", "", "a boat", 0, 0, 20, 8.0, 7, "people", "DPMSolverMultistepScheduler", 0.6)),
    ],
)  # fmt: skip
def test_settings_of_comfyui_are_read_from_its_graphs(chunks: dict[str, object], expected: PictureReceipt) -> None:
    data = picture()
    for name, graph in chunks.items():
        data = with_chunk(b"tEXt", name.encode() + b"\0" + json.dumps(graph).encode(), data)
    assert settings_in(data) == expected


@pytest.mark.parametrize("sampler", ["Euler a", "euler_ancestral", "EULER A", "EulerAncestralDiscreteScheduler"])
def test_a_sampler_is_known_by_all_its_names(sampler: str) -> None:
    assert scheduler_of(sampler) == "EulerAncestralDiscreteScheduler"
    assert sampler_of(scheduler_of(sampler)) == "Euler a"
    assert scheduler_of("Restart") == ""


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(b"tEXt", b"parameters\0just words"),
        with_chunk(b"tEXt", b"parameters"),
        with_chunk(b"iTXt", b"parameters\0\1"),
        with_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"x" * 2**26)),
        with_chunk(b"zTXt", b"parameters\0\0not packed"),
        with_chunk(b"tEXt", b"nanolocal\0" + b"[" * 100_000),
        with_chunk(b"tEXt", b'nanolocal\0{"build_id": 3}'),
        with_chunk(b"tEXt", b"prompt\0" + b'{"a":' * 50_000),
        with_chunk(b"tEXt", b'prompt\0{"3": {"class_type": "Other", "inputs": {}}, "4": 7}'),
        with_chunk(b"tEXt", b'workflow\0{"nodes": [1, {"type": "X", "inputs": 5}], "links": [[], [{}]]}'),
    ],
    ids=["words", "no text", "cut off", "bomb", "not packed", "deep", "wrong kinds", "deep graph", "no sampler", "odd"],
)
def test_texts_that_are_no_settings_are_none(data: bytes) -> None:
    assert settings_in(data) is None


def test_a_graph_that_runs_in_circles_ends() -> None:
    graph = {
        "3": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "model": ["4", 0], "steps": float("nan")}},
        "4": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "lora_name": "x", "strength_model": 1e9}},
    }
    found = settings_in(with_chunk(b"tEXt", b"prompt\0" + json.dumps(graph).encode()))
    assert found is not None
    assert (found.steps, found.adapters) == (0, (("x", 1.0),))


def test_hostile_values_are_left_out_or_made_harmless() -> None:
    text = "\x1b[31mred\u202e\nSteps: 99999999, Seed: 99999999999999999999, Size: 99999x99999, Model: \x1b]0;x\x07"
    found = settings_in(with_chunk(b"tEXt", b"parameters\0" + text.encode()))
    assert found is not None
    assert (found.steps, found.seed, found.width) == (0, 0, 16_384)
    assert "\x1b" not in found.prompt + found.build_id
    assert "\u202e" not in found.prompt


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_read(noise: bytes) -> None:
    for data in (noise, png.SIGNATURE + noise, picture()[:33] + noise):
        with suppress(UsageError):
            settings_in(data)


def test_a_file_with_settings_becomes_a_conversation_of_prompt_and_picture() -> None:
    data = leaving(drawn(), with_metadata=True)
    chat = as_chat("a.png", data, 5.0)
    asked, answer = chat.messages
    assert (asked.role, asked.text, answer.author, answer.task) == (Role.USER, RECEIPT.prompt, "pine:f16", "image_gen")
    assert answer.attachments == (Attachment("a.png", "image/png", data, RECEIPT.to_json()),)
    assert as_chat("b.png", data, 9.0).source == chat.source


def test_a_file_without_settings_is_what_the_user_attached() -> None:
    chat = as_chat("fox.jpg", picture("JPEG"), 5.0)
    (asked,) = chat.messages
    assert (chat.title, asked.text, asked.attachments[0].receipt) == ("fox.jpg", "", "")


def test_what_is_no_picture_is_refused() -> None:
    for data in (b"words", b"", png.SIGNATURE, picture()[:-1]):
        with pytest.raises(UsageError):
            as_chat("a.png", data, 0.0)


@pytest.mark.parametrize("field", ["width", "guidance", "prompt", "adapters", "versions", "seed"])
def test_a_receipt_of_wrong_kinds_is_refused(field: str) -> None:
    values = json.loads(RECEIPT.to_json())
    for wrong in ({"x": 1}, None, [["a", "b", "c"]], True):
        with pytest.raises(Damaged):
            PictureReceipt.from_json(json.dumps(values | {field: wrong}))
    assert PictureReceipt.from_json(replace(RECEIPT, guidance=3).to_json()).guidance == 3
