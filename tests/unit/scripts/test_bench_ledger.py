"""The ledger that is measured is a whole one, and both measurements run."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_ledger  # noqa: E402

from nanolocal.ledger import audit  # noqa: E402


def test_the_measured_ledger_is_whole(tmp_path: Path) -> None:
    database, plain = bench_ledger.built(tmp_path, 60)
    assert audit.check_all(database).entries == 60
    assert plain.execute("SELECT count(*) FROM entry").fetchall() == [(60,)]
    database.close()
    plain.close()


def test_usage_and_turns_are_measured_side_by_side(tmp_path: Path) -> None:
    for name in ("usage", "turns"):
        (tmp_path / name).mkdir()
    rows = bench_ledger.measure_usage(tmp_path / "usage", 60, 1)
    rows += bench_ledger.measure_turns(tmp_path / "turns", 2)
    assert all(row.ratio > 0 for row in rows)
    assert max(map(len, bench_ledger.table(rows).splitlines())) <= 120
