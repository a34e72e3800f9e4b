"""The settings file: optional, and strict about what it holds."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.settings import Settings, load


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "absent.toml") == Settings()


def test_every_setting_is_read(tmp_path: Path) -> None:
    text = 'model_directories = ["~/m"]\nmemory_mb = 512\nprefer = "fast"\ntheme = "light"\n'
    denied = 'deny = ["phi*"]\ndeny_licences = ["*nc*"]\nconfirm_pick = true\n'
    more = "idle_minutes = 0.5\ntariff = 0.287501\nwatts = 65\ncache_mb = 0\ninsecure_hub = true\n"
    stay = 'unload_minutes = 1.5\nkeep_loaded = ["qwen3*"]\npictures = "sixel"\n'
    expected = Settings(("~/m",), 512, "fast", ("phi*",), ("*nc*",), True, "light", 0.5, 287_501, 65)
    assert load(written(tmp_path, text + denied + more + stay)) == replace(
        expected, cache_mb=0, insecure_hub=True, unload_minutes=1.5, keep_loaded=("qwen3*",), pictures="sixel"
    )


@pytest.mark.parametrize(("written_as", "micro"), [("0.1", 100_000), ("0", 0), ("1", 10**6), ("100.0", 10**8)])
def test_a_tariff_is_exact(tmp_path: Path, written_as: str, micro: int) -> None:
    assert load(written(tmp_path, f"tariff = {written_as}\n")).tariff == micro


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('theme = "dark"\nfoo = 1\n', "line 2: unknown setting 'foo'"),
        ('pictures = "crt"\n', "pictures cannot be 'crt'"),
        ("memory_mb = -1\n", "line 1: memory_mb cannot be -1"),
        ("cache_mb = -1\n", "line 1: cache_mb cannot be -1"),
        ("memory_mb = true\n", "memory_mb cannot be True"),
        ("memory_mb = 0.5\n", "memory_mb cannot be 0.5"),
        ("idle_minutes = nan\n", "idle_minutes cannot be nan"),
        ("unload_minutes = -1\n", "unload_minutes cannot be -1"),
        ('keep_loaded = "qwen3"\n', "keep_loaded cannot be 'qwen3'"),
        (f"idle_minutes = 1{'0' * 400}\n", "idle_minutes cannot be 1"),
        ("tariff = -0.1\n", "line 1: tariff cannot be -0.1"),
        ("tariff = nan\n", "tariff cannot be nan"),
        ("tariff = inf\n", "tariff cannot be inf"),
        ("tariff = true\n", "tariff cannot be True"),
        ("tariff = 100.000001\n", "tariff cannot be 100.000001"),
        ("tariff = 0.1234567\n", "tariff cannot be 0.1234567"),
        (f"tariff = 0.1{'0' * 40}1\n", "tariff cannot be 0.1000"),
        ("tariff = 1e9\n", "tariff cannot be 1e"),
        ("watts = 0\n", "watts cannot be 0"),
        ("watts = 5001\n", "watts cannot be 5001"),
        ("watts = 30.5\n", "watts cannot be 30.5"),
        ('prefer = "best"\n', "prefer cannot be 'best'"),
        ("confirm_pick = 1\n", "confirm_pick cannot be 1"),
        ('insecure_hub = "yes"\n', "insecure_hub cannot be 'yes'"),
        ("= nonsense\n", "settings.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        load(written(tmp_path, text))
