"""Targets as people write them."""

import pytest

from nanolocal.compress.targets import (
    BitsPerWeight,
    Bytes,
    Memory,
    Size,
    parse_kld,
    parse_size,
    parse_speed,
    parse_time,
)
from nanolocal.errors import UsageError


@pytest.mark.parametrize(("text", "size"), [
    ("2.4GB", Bytes(2_400_000_000)), ("700 MB", Bytes(700_000_000)), ("1GiB", Bytes(2**30)),
    ("3125600", Bytes(3125600)),
    ("size=3g", Bytes(3 * 10**9)), ("bpw=4.5", BitsPerWeight(4.5)), ("RAM=6gb", Memory(6 * 10**9)),
    ("memory=512MiB", Memory(2**29)),
])  # fmt: skip
def test_sizes_are_read_as_people_write_them(text: str, size: Size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [
    "", "0", "-1GB", "0.0GB", "GB", "4.5 bpw", "bpw=0", "bpw=nan", "bpw=inf", "bpw=-3", "ram=", "disk=3GB", "1e9",
    "\N{FULLWIDTH DIGIT TWO}GB",
])  # fmt: skip
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_size(text)
    assert told.value.hint


def test_time_speed_and_loss() -> None:
    assert [parse_time(text) for text in ("90s", "10m", "10 min", "1.5h")] == [90, 600, 600, 5400]
    assert parse_kld("0.02") == 0.02
    assert parse_speed("20") == 20
    for parse in (parse_time, parse_kld, parse_speed):
        for text in ("0", "nan", "soon", "-1", ""):
            with pytest.raises(UsageError):
                parse(text)
