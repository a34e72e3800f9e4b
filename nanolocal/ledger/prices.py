"""Price cards: what a build's answers cost, in whole micro-credits, with the evidence for it.

The default card is an estimate of the electricity: watts x tariff x seconds. A local answer's seconds follow from two
facts: every answer token reads the whole build from memory once, and a prompt is read several tokens at a time.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace

from nanolocal.chat.amounts import MICRO
from nanolocal.chat.messages import Usage
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.money import whole

_J_PER_KWH = 3_600_000
_PRICE_DOMAIN = b"nl-price-v1\0"

ESTIMATED = "electricity, estimated"

# Measured (596 M parameters, 373 MiB, two cores): 242 prompt tokens and 55 answer tokens per second.
PROMPT_SPEEDUP = 4
# Measured: 0.9 s per million pixel-steps for a 30 MB picture build on one core; about 11 s for a 2 GB one on a desktop.
PICTURE_MS_PER_MPIXEL_STEP = 800
PICTURE_BYTES_PER_MPIXEL_STEP_S = 200_000_000
# A plain SATA solid-state disk.
LOAD_BYTES_PER_S = 500_000_000


@dataclass(frozen=True, slots=True)
class Electricity:
    """What the estimate rests on: this machine's draw under load, its memory, and the household's tariff.

    The defaults are a laptop's 30 W, 20 GB/s (measured with two cores at work; DDR4 has 20 to 25 a channel), and 0.30
    credits (dollars) a kWh, a usual price in Europe.
    """

    watts: int = 30
    tariff_micro_per_kwh: int = 300_000
    memory_bytes_per_s: int = 20_000_000_000


@dataclass(frozen=True, slots=True)
class PriceCard:
    """The immutable price of one build: micro-credits per million tokens or pixel-steps, per load, and at least.

    ``source`` says where it comes from, ``evidence`` how it was reckoned.
    """

    build_id: str
    build_sha256: str
    prompt: int
    cached: int
    completion: int
    pixel_steps: int
    load: int
    minimum: int
    source: str
    evidence: str

    def __post_init__(self) -> None:
        for name in _PRICES:
            whole(getattr(self, name), f"the price {name}")

    @property
    def id(self) -> str:
        """SHA-256 of the card's content."""
        return hashlib.sha256(_PRICE_DOMAIN + self.body().encode()).hexdigest()

    def body(self) -> str:
        """The card's content as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_body(body: str) -> "PriceCard":
        """Read what ``body`` gave; raises ``Damaged``."""
        try:
            record = json.loads(body)
            if set(record) != {field.name for field in fields(PriceCard)}:
                raise ValueError(f"not a price card: {sorted(record)}")
            return PriceCard(**record)
        except (TypeError, ValueError, UsageError) as error:
            raise Damaged("a stored price is damaged", "restore the vault from a backup") from error

    def cost(self, usage: Usage) -> int:
        """Micro-credits for ``usage``, rounded up once; nothing costs nothing, anything else at least ``minimum``."""
        check_usage(usage)
        computed = max(0, usage.prompt_tokens - usage.cached_tokens)
        used = (computed, usage.cached_tokens, usage.completion_tokens, usage.pixel_steps)
        rates = (self.prompt, self.cached, self.completion, self.pixel_steps)
        exact = sum(quantity * rate for quantity, rate in zip(used, rates, strict=True))
        total = -(-exact // MICRO) + usage.loads * self.load
        return max(total, self.minimum) if any(used) or usage.loads else 0


_PRICES = ("prompt", "cached", "completion", "pixel_steps", "load", "minimum")


def check_usage(usage: Usage) -> None:
    """Raise ``UsageError`` unless every quantity is a whole number."""
    for field in fields(Usage):
        whole(getattr(usage, field.name), field.name)


def electricity_card(build: Build, power: Electricity) -> PriceCard:
    """The default card of a build: estimated, and says so. Text from a cache costs nothing to read again."""
    size = max(1, build.size_bytes)
    completion = prompt = picture = 0
    if build.kind is Kind.IMAGE:
        picture_ms = PICTURE_MS_PER_MPIXEL_STEP + size * 1000 // PICTURE_BYTES_PER_MPIXEL_STEP_S
        picture = _micro(power, picture_ms, 1000)
        speed = f"{picture_ms} ms per million pixel-steps"
    else:
        completion = _micro(power, size * MICRO, power.memory_bytes_per_s)
        prompt = _micro(power, size * MICRO, power.memory_bytes_per_s * PROMPT_SPEEDUP)
        tenths = power.memory_bytes_per_s * 10 // size
        speed = f"{tenths // 10}.{tenths % 10} tokens/s ({power.memory_bytes_per_s} B/s over {size} B)"
    tariff = f"{power.watts} W x {power.tariff_micro_per_kwh} micro-credits/kWh"
    return PriceCard(
        build_id=build.id,
        build_sha256=build.sha256,
        prompt=prompt,
        cached=0,
        completion=completion,
        pixel_steps=picture,
        load=_micro(power, size, LOAD_BYTES_PER_S),
        minimum=1,
        source=ESTIMATED,
        evidence=f"{tariff}, {speed}",
    )


def is_outdated(card: PriceCard, estimate: PriceCard) -> bool:
    """Whether ``card`` was made by itself from other watts, another tariff or size than ``estimate``."""
    same = replace(card, evidence=estimate.evidence) == estimate and card.evidence.startswith(estimate.evidence)
    return card.source == ESTIMATED and not same


def _micro(power: Electricity, seconds: int, divisor: int) -> int:
    """Micro-credits for ``seconds / divisor`` under load, rounded up."""
    return -(-power.watts * power.tariff_micro_per_kwh * seconds // (_J_PER_KWH * divisor))
