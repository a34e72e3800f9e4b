"""Choosing among builds of a model."""

from dataclasses import dataclass

import pytest

from nanolocal.library.fit.advice import Candidate, Source, Verdict, advise, for_size
from nanolocal.library.retention import retained

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Offer:
    quantization: str
    gib: float
    trained: int = 131_072


def candidate(offer: Offer) -> Candidate:
    """A build whose context takes 128 KiB a token."""
    size = int(offer.gib * GIB)
    return Candidate(
        label=offer.quantization,
        quantization=offer.quantization,
        size_bytes=size,
        trained=offer.trained,
        needs=lambda n_ctx: size + n_ctx * 128 * 1024,
        reads=lambda n_ctx: size + n_ctx * 64 * 1024,
        source=Source.COMPUTED,
    )


def judged(*offers: Offer, gib: float, gb_s: float = 100.0, context: int | None = None) -> dict[str, Verdict]:
    verdicts = advise([candidate(offer) for offer in offers], int(gib * GIB), gb_s * 10**9, context)
    return {verdict.label: verdict for verdict in verdicts}


EIGHT_B = (Offer("F16", 15), Offer("Q8_0", 8), Offer("Q4_K_M", 4.6), Offer("Q3_K_M", 3.7), Offer("Q2_K", 3))


def test_the_finest_that_fits_and_keeps_pace_is_best() -> None:
    verdicts = judged(*EIGHT_B, gib=10)
    assert [label for label, verdict in verdicts.items() if verdict.is_best] == ["Q8_0"]
    assert verdicts["F16"].says == "too large by 5.2 GiB"
    assert not verdicts["F16"].fits
    assert verdicts["Q4_K_M"].says == "98.5% of the quality"


def test_of_two_that_are_equally_fine_the_smaller_is_best() -> None:
    verdicts = judged(*EIGHT_B, gib=24)
    assert verdicts["Q8_0"].is_best
    assert verdicts["F16"].says == "larger and no better"


def test_one_that_is_slower_than_reading_gives_way_to_a_coarser_one() -> None:
    verdicts = judged(*EIGHT_B, gib=24, gb_s=40)
    assert verdicts["Q4_K_M"].is_best
    assert verdicts["Q8_0"].says == "slower than one reads"


def test_where_all_are_slow_the_fastest_that_keeps_the_quality_is_best_and_says_so() -> None:
    verdicts = judged(*EIGHT_B, gib=24, gb_s=5)
    assert verdicts["Q3_K_M"].is_best
    assert verdicts["Q3_K_M"].says == "best here, slower than one reads"
    assert verdicts["Q2_K"].says == "76.8% of the quality"
    assert judged(Offer("Q2_K", 3), Offer("IQ1_S", 2), gib=24, gb_s=5)["IQ1_S"].is_best
    assert verdicts["Q8_0"].says == "slower than one reads"


def test_one_without_room_to_talk_gives_way() -> None:
    verdicts = judged(Offer("Q8_0", 8), Offer("Q4_K_M", 4.6), gib=8.4)
    assert verdicts["Q4_K_M"].is_best
    assert verdicts["Q8_0"].fits
    assert verdicts["Q8_0"].says == "leaves room for 2,048 tokens only"


@pytest.mark.parametrize(("gib", "trained", "expected"), [
    (8.3, 131_072, 2048), (9.1, 131_072, 8192), (100, 131_072, 32_768), (100, 12_000, 12_000), (100, 1024, 1024),
    (1, 131_072, 2048),
])  # fmt: skip
def test_the_context_is_the_longest_that_fits_and_makes_sense(gib: float, trained: int, expected: int) -> None:
    assert judged(Offer("Q8_0", 8, trained), gib=gib)["Q8_0"].context == expected


def test_a_context_that_was_asked_for_is_kept() -> None:
    verdict = judged(Offer("Q8_0", 8), gib=9, context=16_384)["Q8_0"]
    assert (verdict.context, verdict.fits, verdict.says) == (16_384, False, "too large by 1.0 GiB")
    beyond = judged(Offer("Q8_0", 1, trained=4096), gib=90, context=8192)["Q8_0"]
    assert (beyond.fits, beyond.says) == (False, "reads at most 4,096 tokens")


def test_nothing_is_best_where_nothing_fits() -> None:
    assert not any(verdict.is_best or verdict.fits for verdict in judged(*EIGHT_B, gib=1).values())
    assert advise([], GIB, 1.0) == ()


def test_size_alone_gives_a_figure_that_is_called_one() -> None:
    offer = for_size("qwen3-8b:Q4_K_M", "Q4_K_M", 5 * 10**9)
    assert offer.source is Source.SIZE
    # its real cache is 144 KiB a token (36 layers x 8 heads x 128 numbers x 2 x 2 bytes)
    assert offer.needs(8192) - offer.needs(0) >= 8192 * 144 * 1024
    experts = for_size("moe", "Q4_K_M", 18 * 10**9, active_share=0.1)
    assert experts.needs(0) == for_size("dense", "Q4_K_M", 18 * 10**9).needs(0)
    assert experts.reads(0) == 18 * 10**8


def test_quality_falls_with_every_step_of_the_ladder() -> None:
    ladder = ["F16", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K", "IQ2_XXS", "IQ1_M"]
    kept = [retained(name) for name in ladder]
    assert kept == sorted(kept, reverse=True) and len(set(kept)) == len(kept)
    assert retained("UD-Q4_K_M") == retained("q4_k_m")
    assert retained("Q9_X") < retained("Q4_K_M")
