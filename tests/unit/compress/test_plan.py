"""The plan: what is possible is planned within its limits, what is not is refused with the reason and the nearest."""

import random
from dataclasses import replace

import pytest

from nanolocal.compress.plan import Device, Tier, hessians_of, make
from nanolocal.compress.search.choosing import Limits, stock_for
from nanolocal.compress.search.stock import Stock
from nanolocal.compress.targets import BitsPerWeight, Bytes, Memory, Wish
from nanolocal.compress.weights.encodings import fitting, is_encodable
from nanolocal.compress.weights.sizes import cost_of, retyped
from nanolocal.errors import NanolocalError, NoBuildFits, UsageError
from nanolocal.formats.gguf import GGUFFacts, Tensor
from nanolocal.library.fit.layout import Layout, Span

LADDER = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")
NAMES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")


def layout_of(kind: int = 1, *, width: int = 512, layers: int = 4, vocabulary: int = 4096) -> Layout:
    """A model of ``layers`` in one type, F16 by default."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, vocabulary),
        "output.weight": (width, vocabulary),
    }
    for n in range(layers):
        shapes |= {
            f"blk.{n}.attn_norm.weight": (width,), f"blk.{n}.attn_q.weight": (width, width),
            f"blk.{n}.attn_k.weight": (width, width), f"blk.{n}.attn_v.weight": (width, width),
            f"blk.{n}.attn_output.weight": (width, width), f"blk.{n}.ffn_up.weight": (width, 2 * width),
            f"blk.{n}.ffn_gate.weight": (width, 2 * width), f"blk.{n}.ffn_down.weight": (2 * width, width),
        }  # fmt: skip
    facts: dict[str, str | int] = {
        "general.architecture": "llama", "llama.block_count": layers, "llama.context_length": 2048,
        "llama.embedding_length": width, "llama.feed_forward_length": 2 * width, "llama.attention.head_count": 8,
    }  # fmt: skip
    tensors = tuple(Tensor(name, kind if len(shape) > 1 else 0, shape, 0, 0) for name, shape in shapes.items())
    bare = Layout(
        GGUFFacts(facts, {"tokenizer.ggml.tokens": vocabulary}, len(tensors), 0), (Span(0, 100_000, tensors),)
    )
    return retyped(bare, {}, 100_000)


def ladder_of(layout: Layout) -> tuple[Stock, ...]:
    names = [tensor for tensor in layout.tensors if is_encodable(tensor.name, tensor.shape)]
    return tuple(
        Stock(name, {tensor.name: fitting(kind, tensor.shape[0]) for tensor in names})
        for name, kind in zip(NAMES, LADDER, strict=True)
    )


DEVICE = Device(memory=8 * 10**9, disk=50 * 10**9, bandwidth=20e9, cores=4)
LAYOUT = layout_of()
STOCKS = ladder_of(LAYOUT)


def test_without_a_wish_it_is_the_usual_size_where_that_fits() -> None:
    plan = make(LAYOUT, STOCKS, Wish(), DEVICE)
    assert plan.most == next(rung.size_bytes for rung in plan.rungs if rung.label == "Q4_K_M")
    assert "holds well" in plan.why


def test_a_small_device_gets_less_and_a_tiny_one_a_refusal() -> None:
    sizes = [make(LAYOUT, STOCKS, Wish(), replace(DEVICE, bandwidth=b)).most for b in (20e9, 60e6, 50e6, 40e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    with pytest.raises(NoBuildFits) as refused:
        make(LAYOUT, STOCKS, Wish(), replace(DEVICE, memory=10**6))
    assert "more than is free" in refused.value.message


@pytest.mark.parametrize(("wish", "kind", "words"), [
    (Wish(size=Bytes(10**5)), UsageError, "is the least for this model"),
    (Wish(size=BitsPerWeight(1.0)), UsageError, "bpw="),
    (Wish(size=Memory(10**6)), UsageError, "ram="),
    (Wish(size=Bytes(10**10)), UsageError, "is no less"),
    (Wish(min_speed=1e5), NoBuildFits, "--min-speed"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_the_nearest(wish: Wish, kind: type[NanolocalError], words: str) -> None:
    with pytest.raises(kind) as refused:
        make(LAYOUT, STOCKS, wish, DEVICE)
    assert words in refused.value.message + refused.value.hint


def test_the_nearest_that_is_named_is_possible() -> None:
    for wish, parse in ((Wish(size=BitsPerWeight(1.0)), "bpw="), (Wish(size=Memory(10**6)), "ram=")):
        with pytest.raises(UsageError) as refused:
            make(LAYOUT, STOCKS, wish, DEVICE)
        word = refused.value.message.partition(parse)[2].split()[0]
        size = BitsPerWeight(float(word)) if parse == "bpw=" else Memory(int(word.removesuffix("MB")) * 10**6)
        assert make(LAYOUT, STOCKS, replace(wish, size=size), DEVICE).most >= make(LAYOUT, STOCKS, Wish(), DEVICE).least


def test_a_quantized_build_is_taken_only_when_asked() -> None:
    quantized = layout_of(8)
    with pytest.raises(UsageError, match="already quantized") as refused:
        make(quantized, ladder_of(quantized), Wish(), DEVICE)
    assert "--requantize" in refused.value.hint
    assert make(quantized, ladder_of(quantized), Wish(), DEVICE, requantize=True).requantizes


def test_free_memory_changes_a_plan_only_where_it_is_short() -> None:
    wide = layout_of(width=2048)
    plans = [make(wide, ladder_of(wide), Wish(seconds=1e6), replace(DEVICE, memory=m * 10**8)) for m in (80, 90, 10)]
    assert plans[0].hessian_bytes == plans[1].hessian_bytes
    assert 0 < plans[2].hessian_bytes < plans[0].hessian_bytes
    for plan in plans:
        assert sum(hessians_of(wide, plan.hessian_bytes).values()) == plan.hessian_bytes


def test_too_little_memory_or_disk_is_told_before_any_work() -> None:
    with pytest.raises(NoBuildFits, match="measuring the source"):
        make(LAYOUT, STOCKS, Wish(size=Bytes(10**7)), replace(DEVICE, memory=30 * 10**6))
    with pytest.raises(UsageError, match="of disk are needed"):
        make(LAYOUT, STOCKS, Wish(), replace(DEVICE, disk=10**6))


def test_a_model_without_matrices_is_refused() -> None:
    with pytest.raises(UsageError, match="no matrix"):
        make(LAYOUT, (Stock("Q8_0", {}),), Wish(), DEVICE)


def test_more_time_never_searches_less() -> None:
    plans = [make(LAYOUT, STOCKS, Wish(seconds=seconds), DEVICE) for seconds in (1, 20, 60, 300, 3000)]
    depths = [[*Tier].index(plan.tier) for plan in plans]
    assert depths == sorted(depths)
    assert depths[0] == 0
    assert plans[-1].tier is Tier.PROBED


def test_two_hundred_random_wishes_are_met_or_refused_with_a_reason() -> None:
    random.seed(20)
    met = refused = 0
    for _ in range(200):
        layout = random.choice((LAYOUT, layout_of(width=256, layers=2), layout_of(30, width=320)))
        ladder = ladder_of(layout)
        size = random.choice((
            None, Bytes(random.randint(10**6, 3 * 10**7)), BitsPerWeight(random.uniform(1, 12)),
            Memory(random.randint(5 * 10**7, 2 * 10**8)),
        ))  # fmt: skip
        speed = random.choice((None, None, random.uniform(10, 3000)))
        wish = Wish(size, min_speed=speed, seconds=random.choice((None, 30.0, 600.0)))
        try:
            plan = make(layout, ladder, wish, DEVICE)
            limits = Limits(plan.most, plan.bare, plan.context, plan.memory)
            stock = stock_for(limits, layout, ladder)
        except NanolocalError as error:
            refused += 1
            assert error.message and error.hint
            continue
        met += 1
        made = retyped(layout, stock.types, plan.bare)
        cost = cost_of(made, plan.context)
        assert made.size_bytes <= plan.most < plan.source_bytes
        match size:
            case Bytes(most):
                assert made.size_bytes <= most
            case BitsPerWeight(bits):
                assert 8 * sum(tensor.size_bytes for tensor in made.tensors) <= bits * plan.parameters
            case Memory(most):
                assert cost.memory <= most
        if speed is not None:
            assert DEVICE.bandwidth / cost.read >= 0.99 * speed
    assert met > 40
    assert refused > 20
