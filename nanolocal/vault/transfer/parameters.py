"""A picture's settings as AUTOMATIC1111 writes them into its files: text that many programs and sites read.

    prompt
    Negative prompt: ...
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 1a2b3c4d5e, Model: ..., Version: ...

By modules/processing.py (``create_infotext``) and modules/infotext_utils.py (``parse_generation_parameters``) of
https://github.com/AUTOMATIC1111/stable-diffusion-webui. A value with a comma, a colon or a line break is a JSON string.
"""

import json
import math
import re
from collections.abc import Iterator

from nanolocal.chat.drawing import Adapters, PictureReceipt
from nanolocal.vault.transfer.samplers import sampler_of, scheduler_of

HASH_DIGITS, ADAPTER_DIGITS = 10, 12
"""Of a file's SHA-256, as this form shows those of models and of adapters."""
MOST_CHARACTERS = 20_000
_MOST_ADAPTERS = 32
_FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_LEAST_FIELDS = 3
_NEGATIVE = "Negative prompt:"
_ADAPTER = re.compile(r"\s*<(?:lora|lyco):([^:<>]{1,200})(?::([^<>]{1,40}))?>", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,5})\s*x\s*(\d{1,5})")
_LARGEST_SIDE, _MOST_STEPS, _LARGEST_SEED = 16_384, 10_000, 2**64 - 1


def written(receipt: PictureReceipt, version: str) -> str:
    """The settings as text; ``version`` is that of nanolocal."""
    prompt = " ".join(
        [receipt.prompt, *(f"<lora:{key[:ADAPTER_DIGITS]}:{weight}>" for key, weight in receipt.adapters)]
    )
    lines = [prompt, *([f"{_NEGATIVE} {receipt.negative}"] if receipt.negative else [])]
    fields = ", ".join(f"{name}: {_quoted(value)}" for name, value in _fields(receipt, version) if value)
    return "\n".join([*lines, fields])


def read(text: str) -> PictureReceipt | None:
    """The settings in ``text``, or ``None`` where it holds none; numbers out of range are left out."""
    *lines, last = text[:MOST_CHARACTERS].strip().split("\n")
    if len(_FIELD.findall(last)) < _LEAST_FIELDS:
        return None
    fields = {name.strip().lower(): _unquoted(value.strip()) for name, value in _FIELD.findall(last)}
    prompt, negative = _prompts(lines)
    size = _SIZE.fullmatch(fields.get("size", ""))
    width, height = (int(size[1]), int(size[2])) if size else (0, 0)
    return PictureReceipt(
        build_id=fields.get("model", ""),
        build_sha256=fields.get("model hash", "").lower(),
        prompt=_ADAPTER.sub("", prompt),
        width=min(width, _LARGEST_SIDE),
        height=min(height, _LARGEST_SIDE),
        steps=int(_number(fields.get("steps", ""), _MOST_STEPS)),
        guidance=_number(fields.get("cfg scale", "") or fields.get("distilled cfg scale", ""), 1000.0),
        seed=_whole(fields.get("seed", "")),
        negative=negative,
        scheduler=scheduler_of(fields.get("sampler", "")),
        strength=_number(fields.get("denoising strength", ""), 1.0),
        controlnet=_unit(fields.get("controlnet 0", "")),
        adapters=_adapters(prompt, fields.get("lora hashes", "")),
    )


def _fields(receipt: PictureReceipt, version: str) -> Iterator[tuple[str, str]]:
    yield "Steps", str(receipt.steps)
    yield "Sampler", sampler_of(receipt.scheduler)
    yield "CFG scale", _plain(receipt.guidance)
    yield "Seed", str(receipt.seed)
    yield "Size", f"{receipt.width}x{receipt.height}"
    yield "Model hash", receipt.build_sha256[:HASH_DIGITS]
    yield "Model", receipt.build_id
    yield "Denoising strength", _plain(receipt.strength) if receipt.strength else ""
    yield "ControlNet 0", f"Model: {receipt.controlnet}" if receipt.controlnet else ""
    names = [key[:ADAPTER_DIGITS] for key, _ in receipt.adapters]
    yield "Lora hashes", ", ".join(f"{name}: {name}" for name in names)
    yield "Version", f"nanolocal {version}"


def _prompts(lines: list[str]) -> tuple[str, str]:
    """Prompt and negative prompt."""
    start = next((n for n, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).strip().removeprefix(_NEGATIVE)
    return "\n".join(lines[:start]).strip(), negative.strip()


def _adapters(prompt: str, hashes: str) -> Adapters:
    """The adapters that the prompt names, each by its hash where that is told."""
    known = dict(each.strip().split(": ", 1) for each in hashes.split(",") if ": " in each)
    named = _ADAPTER.findall(prompt)[:_MOST_ADAPTERS]
    return tuple((known.get(name, name), _weight(weight.partition(":")[0])) for name, weight in named)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if -100 <= weight <= 100 else 1.0


def _unit(text: str) -> str:
    """The model of a ControlNet unit, which is a list of fields in itself."""
    return next((value.strip() for name, value in _FIELD.findall(text) if name.strip().lower() == "model"), "")


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def _unquoted(value: str) -> str:
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _plain(number: float) -> str:
    return repr(number).removesuffix(".0")


def _number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and 0 <= number <= most else 0.0


def _whole(text: str) -> int:
    number = int(text) if re.fullmatch(r"\d{1,20}", text) else 0
    return number if number <= _LARGEST_SEED else 0
