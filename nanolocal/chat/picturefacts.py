"""What a picture was drawn with, in words that every face shows."""

from nanolocal.chat.drawing import PictureReceipt

_SHOWN = 12
"""Digits of a SHA-256."""


def settings(receipt: PictureReceipt) -> list[tuple[str, str]]:
    """What a picture was drawn with, by name, in words; what does not apply is left out. Not yet safe to draw."""
    versions = ", ".join(f"{name} {version}" for name, version in receipt.versions)
    loras = ", ".join(f"{key[:_SHOWN]} at {weight:g}" for key, weight in receipt.adapters)
    rows = (
        ("drawn from", receipt.prompt),
        ("not", receipt.negative),
        ("build", f"{receipt.build_id} {receipt.build_sha256[:_SHOWN]}".strip()),
        ("size", f"{receipt.width}x{receipt.height}" if receipt.width else ""),
        ("steps", f"{receipt.steps}, guidance {receipt.guidance:g}" if receipt.steps else ""),
        ("stopped", f"after step {receipt.stopped_at}: this is its preview" if receipt.stopped_at else ""),
        ("sampler", receipt.scheduler),
        ("seed", str(receipt.seed)),
        ("changed", _changed(receipt)),
        ("mask", receipt.mask[:_SHOWN]),
        ("control", f"{receipt.controlnet} {receipt.control[:_SHOWN]}".strip()),
        ("LoRA", loras),
        ("memory", "" if receipt.rung == "full" else receipt.rung),
        ("step cache", receipt.cache),
        ("machine", f"{receipt.threads} threads, {receipt.dtype}, {versions}" if receipt.threads else ""),
    )
    return [(name, value) for name, value in rows if value]


def _changed(receipt: PictureReceipt) -> str:
    """The picture that went in, and how much of it may have changed."""
    source = receipt.source[:_SHOWN] or ("a picture" if receipt.strength else "")
    return f"{source}, strength {receipt.strength:g}" if receipt.strength else source
