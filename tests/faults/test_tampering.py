"""Some of the ways to change a ledger from outside; ``scripts/stress_ledger.py tampering`` tries them all."""

from pathlib import Path

from tests.faults import tampering

EVERY = 131


def test_tampering_is_noticed_stops_all_spending_and_can_be_accepted(tmp_path: Path) -> None:
    ledger = tampering.small_ledger(tmp_path, rounds=1)
    attacks = list(tampering.attacks(ledger))
    assert len(attacks) > 1000
    room = tmp_path / "room"
    room.mkdir(mode=0o700)
    found = {attack.name: tampering.outcome(ledger, attack, room) for attack in attacks[::EVERY]}
    assert {name: wrong for name, (_, wrong) in found.items() if wrong} == {}
    assert [name for name, (who, _) in found.items() if who == "SILENT"] == []
    assert len({who for who, _ in found.values()}) > 1
