"""The settings file: optional, and strict about what it holds."""

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
    path = written(tmp_path, f"{text}idle_minutes = 0.5\n")
    assert load(path) == Settings(("~/m",), 512, "fast", "light", 0.5)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('theme = "dark"\nfoo = 1\n', "line 2: unknown setting 'foo'"),
        ("memory_mb = -1\n", "line 1: memory_mb cannot be -1"),
        ("memory_mb = true\n", "memory_mb cannot be True"),
        ("memory_mb = 0.5\n", "memory_mb cannot be 0.5"),
        ("idle_minutes = nan\n", "idle_minutes cannot be nan"),
        ('prefer = "best"\n', "prefer cannot be 'best'"),
        ("= nonsense\n", "settings.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        load(written(tmp_path, text))
