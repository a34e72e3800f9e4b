"""Memory bandwidth: measured once, then remembered."""

import json
from pathlib import Path

from nanolocal.device.bandwidth import memory_bandwidth


def test_it_is_measured_once_for_this_machine(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "bandwidth.json"
    measured = memory_bandwidth(cache)
    assert measured > 10**8
    kept = json.loads(cache.read_text(encoding="utf-8"))
    cache.write_text(json.dumps(kept | {"bytes_per_second": 123.0}), encoding="utf-8")
    assert memory_bandwidth(cache) == 123.0


def test_what_another_machine_or_a_damaged_file_says_does_not_count(tmp_path: Path) -> None:
    cache = tmp_path / "bandwidth.json"
    for content in ('{"machine": "other", "bytes_per_second": 5}', "[]", "{", '{"bytes_per_second": -1}'):
        cache.write_text(content, encoding="utf-8")
        assert memory_bandwidth(cache) > 10**8


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert memory_bandwidth(tmp_path / "file" / "bandwidth.json") > 10**8
