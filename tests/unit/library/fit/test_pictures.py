"""What drawing takes, and which way to save memory is chosen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.canvas import LEAST_SIDE, Canvas, Stage, Way
from nanolocal.formats.pipeline_folder import PipelineFacts, check_folder
from nanolocal.library.fit.candidates import from_build
from nanolocal.library.fit.pictures import PROGRAM, canvas_of, picture_bytes
from nanolocal.library.library import Library
from nanolocal.routing.gates import memory_needed
from tests.fakes import stores
from tests.unit.formats.test_pipeline_folder import write_shapes

MIB = 2**20
SD = {
    "denoiser": {"sample_size": 64, "block_out_channels": [320, 640], "cross_attention_dim": 768},
    "vae": {"block_out_channels": [128, 256, 512, 512], "sample_size": 512},
}


def write_sd(folder: Path, linear: int = 0) -> PipelineFacts:
    """A pipeline whose UNet has 100 million weights in convolutions and so many in linear layers."""
    stores.write_pipeline(folder, configs=SD)
    shapes: dict[str, tuple[int, ...]] = {"conv_in.weight": (320, 4, 3, 3), "conv_out.weight": (4, 320, 3, 3)}
    shapes |= {"mid.conv.weight": (1000, 10_000, 10)}
    shapes |= {"mid.linear.weight": (1000, linear // 1000)} if linear else {}
    write_shapes(folder / "unet/diffusion_pytorch_model.safetensors", shapes)
    return check_folder(folder)


def way_of(canvas: Canvas, rung: str) -> Way:
    return next(way for way in canvas.ways if way.rung == rung)


def test_weights_take_what_they_are_computed_in(tmp_path: Path) -> None:
    canvas = canvas_of(write_sd(tmp_path / "sd", linear=50_000_000))
    full, half, int8 = (way_of(canvas, rung) for rung in ("full", "half", "int8"))
    assert full.loading - PROGRAM == pytest.approx(150_000_000 * 4, rel=0.001)
    assert half.loading - PROGRAM == pytest.approx(150_000_000 * 2, rel=0.001)
    assert half.held - int8.held == 50_000_000 - 1000 * 4
    assert int8.loading == half.loading


def test_the_decoder_decides_by_its_channels_and_the_pixels(tmp_path: Path) -> None:
    full = way_of(canvas_of(write_sd(tmp_path / "sd")), "full")
    more = full.needed(1024, 1024) - full.needed(512, 512)
    assert more == pytest.approx(3 * 512 * 512 * 4 * 4 * 256, rel=0.02)


def test_tiles_cap_what_a_large_picture_takes(tmp_path: Path) -> None:
    canvas = canvas_of(write_sd(tmp_path / "sd"))
    full, tiled = way_of(canvas, "full"), way_of(canvas, "tiled")
    assert full.needed(512, 512) == tiled.needed(512, 512)
    assert tiled.needed(1024, 1024) - tiled.needed(512, 512) < (full.needed(1024, 1024) - full.needed(512, 512)) / 2


def test_a_card_holds_all_parts_or_the_one_that_works(tmp_path: Path) -> None:
    on_card = {way.rung: way.held for way in canvas_of(write_sd(tmp_path / "sd")).on_card}
    assert on_card["full"] == on_card["tiled"] >= on_card["offload"] >= on_card["sequential"]


def test_a_budget_decides_which_way_is_taken_and_says_what_would_fit(tmp_path: Path) -> None:
    canvas = canvas_of(write_sd(tmp_path / "sd"))
    ladder = dict(canvas.ladder(1024, 1024))
    assert canvas.choose(1024, 1024, ladder["full"]).way.rung == "full"
    assert canvas.choose(1024, 1024, ladder["full"] - 1).way.rung == "tiled"
    assert canvas.choose(1024, 1024, ladder["tiled"] - 1).way.rung == "half"
    none = canvas.choose(2048, 1024, ladder["half"] // 2)
    assert not none.fits
    assert none.largest is None or none.largest[0] > none.largest[1]


numbers = st.integers(0, 2**34)
stages = st.builds(Stage, numbers, st.integers(0, 2000), st.integers(0, 9000), st.sampled_from([0, 64 * 64, 512 * 512]))
ways = st.builds(Way, st.sampled_from(["full", "tiled", "half", "int8"]), numbers, numbers, numbers,
                 st.lists(stages, max_size=3).map(tuple))  # fmt: skip
canvases = st.builds(Canvas, st.just(512), st.just(512), st.lists(ways, min_size=1, max_size=4).map(tuple))
sides = st.integers(8, 512).map(lambda number: number * 8)


@given(canvases, sides, sides, st.integers(0, 2**36))
def test_what_is_chosen_never_takes_more_than_the_budget(canvas: Canvas, width: int, height: int, budget: int) -> None:
    choice = canvas.choose(width, height, budget)
    assert choice.needed == choice.way.needed(width, height)
    assert choice.fits == (choice.needed <= budget)
    if choice.fits:
        before = canvas.ways[: canvas.ways.index(choice.way)]
        assert all(way.needed(width, height) > budget for way in before)
        return
    assert all(way.needed(width, height) > budget for way in canvas.ways)
    if choice.largest is not None:
        assert min(choice.largest) >= LEAST_SIDE and max(choice.largest) <= max(width, height)
        assert canvas.choose(*choice.largest, budget).fits


@given(canvases, sides, sides, st.integers(0, 4096), st.integers(0, 4096), st.integers(0, 2**36))
def test_a_larger_picture_takes_as_much_or_more_and_no_plainer_way(
    canvas: Canvas, width: int, height: int, wider: int, higher: int, budget: int
) -> None:
    for way in canvas.ways:
        assert way.needed(width, height) <= way.needed(width + wider, height + higher)
        assert way.needed(width, height) <= way.peak(width, height)
    small = canvas.choose(width, height, budget)
    large = canvas.choose(width + wider, height + higher, budget)
    assert small.fits or not large.fits
    if small.fits and large.fits:
        assert canvas.ways.index(small.way) <= canvas.ways.index(large.way)


def test_a_build_carries_its_canvas_and_its_own_size(tmp_path: Path) -> None:
    write_sd(tmp_path / "m" / "sd")
    (build,) = Library([tmp_path / "m"], tmp_path / "index.json").builds()
    assert build.footprint is not None and build.footprint.canvas is not None
    canvas = build.footprint.canvas
    assert (canvas.width, canvas.height) == (512, 512)
    assert build.footprint.needed(0) == canvas.ways[0].needed(512, 512)
    candidate = from_build(build)
    assert (candidate.size_bytes, candidate.needs(0)) == (build.size_bytes, build.footprint.needed(0))


@pytest.mark.parametrize("odd", [0, 7, 100_000, -5, 10**15, "x", None, [], [[]], [-1, 0], [True], 1.5])
def test_configurations_that_nobody_can_mean_end_in_a_number(tmp_path: Path, odd: object) -> None:
    names = ("sample_size", "block_out_channels", "patch_size", "num_attention_heads", "attention_head_dim", "dim",
             "down_block_types", "all_patch_size", "latent_channels")  # fmt: skip
    configs = {part: dict.fromkeys(names, odd) for part in ("denoiser", "vae")}
    folder = stores.write_pipeline(tmp_path / "odd", "FluxPipeline", "ZImageTransformer2DModel", configs=configs)
    canvas = canvas_of(check_folder(folder))
    assert all(way.needed(512, 512) >= PROGRAM for way in canvas.ways)


def test_of_a_size_alone_something_follows() -> None:
    assert picture_bytes(4 * 2**30, 2) > 8 * 2**30


def test_a_build_is_not_ruled_out_where_a_way_to_save_memory_has_room(tmp_path: Path) -> None:
    write_sd(tmp_path / "m" / "sd")
    (build,) = Library([tmp_path / "m"], tmp_path / "index.json").builds()
    assert build.footprint is not None and build.footprint.canvas is not None
    assert memory_needed(build, 0) == min(needed for _, needed in build.footprint.canvas.ladder(512, 512))
    assert memory_needed(build, 0) < build.footprint.needed(0)


def test_the_size_on_the_card_is_what_a_build_takes_memory_for(tmp_path: Path) -> None:
    write_sd(tmp_path / "m" / "sd")
    for width, own in (
        ("64", (64, 128)),
        ("0", (512, 512)),
        ("-8", (512, 512)),
        ("NaN", (512, 512)),
        ("1e99", (512, 512)),
    ):
        card = f'{{"defaults": {{"width": {width}, "height": 128}}}}'
        (tmp_path / "m" / "sd" / "card.json").write_text(card)
        (build,) = Library([tmp_path / "m"], tmp_path / "index.json").builds()
        assert build.footprint is not None and build.footprint.canvas is not None
        assert (build.footprint.canvas.width, build.footprint.canvas.height) == own
