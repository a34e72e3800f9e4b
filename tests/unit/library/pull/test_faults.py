import pytest

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.faults import Fault, Patience, Tries

FAULT = Fault("the connection ended early")


def test_waits_grow_between_faults_in_a_row_up_to_a_limit() -> None:
    patience = Patience(first_wait=1.0, longest_wait=10.0)
    assert patience.wait_after(FAULT, 0) == 0
    for in_a_row, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (7, 10.0)):
        assert longest / 2 <= patience.wait_after(FAULT, in_a_row) <= longest


def test_a_server_is_waited_for_as_long_as_it_asks_but_not_for_ever() -> None:
    assert Patience().wait_after(Fault("busy", 12.0), 1) == 12.0
    assert Patience().wait_after(Fault("busy", 10.0**9), 1) == 300.0


def test_it_goes_on_as_long_as_something_arrives_between_faults() -> None:
    tries = Tries(Patience(faults_in_a_row=3), "m.gguf")
    for done in range(1, 100):
        tries.wait_after(FAULT, done)


def test_it_ends_after_so_many_faults_without_a_byte() -> None:
    tries = Tries(Patience(faults_in_a_row=3), "m.gguf")
    for _ in range(3):
        tries.wait_after(FAULT, 7)
    with pytest.raises(TransferFailed, match=r"m.gguf could not be fetched: the connection ended early") as caught:
        tries.wait_after(FAULT, 7)
    assert caught.value.hint == "run the same command again: it goes on where it stopped"


def test_bytes_that_come_again_after_damage_are_no_progress() -> None:
    tries = Tries(Patience(faults_in_a_row=3), "m.gguf")
    with pytest.raises(TransferFailed):
        for done in (5, 0, 5, 0, 5):
            tries.wait_after(FAULT, done)
