import pytest

from nanolocal.errors import NanolocalError, TransferFailed
from nanolocal.library.pull.ranges import open_remote
from tests.hub.faults import Fault, Kind, Once
from tests.unit.library.pull.pulling import CONTENT_BYTES, TOKEN, Pulling


def test_a_part_is_read_and_no_more_is_sent(pulling: Pulling) -> None:
    with open_remote(pulling.hub.url("m.gguf")) as remote:
        assert remote.size == CONTENT_BYTES
        assert remote.read_range(1000, 3000) == pulling.file.content[1000:3000]
        assert remote.read_range(CONTENT_BYTES - 5, CONTENT_BYTES + 5) == pulling.file.content[-5:]
    assert pulling.hub.served("m.gguf") == 1 + 2000 + 5


def test_the_token_stays_with_the_first_origin(pulling: Pulling) -> None:
    pulling.hub.accounts[TOKEN] = set()
    with open_remote(pulling.hub.url("m.gguf"), TOKEN) as remote:
        remote.read_range(0, 10)
    assert pulling.hub.authorizations("hub") == {f"Bearer {TOKEN}"}
    assert pulling.hub.authorizations("cdn") == {""}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Kind.WHOLE, "whole files only"),
        (Kind.FORBIDDEN, "does not give this file away"),
        (Kind.UNAVAILABLE, "answers HTTP 503"),
        (Kind.WRONG_RANGE, "instead of"),
        (Kind.TOO_LONG, "more than it was asked for"),
        (Kind.TOO_SHORT, "stopped after"),
        (Kind.RESET, "cannot be read"),
        (Kind.LOOP, "without end"),
        (Kind.NEW_ETAG, "changed on the server"),
    ],
)
def test_any_other_answer_is_refused(pulling: Pulling, fault: Kind, says: str) -> None:
    with open_remote(f"{pulling.hub.endpoint}/files/m.gguf") as remote:
        pulling.hub.plan = Once(Fault(fault, 100))
        with pytest.raises(TransferFailed, match=says):
            remote.read_range(0, 1000)


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "https://", "no address", "http://[::1"])
def test_only_web_addresses_are_opened(url: str) -> None:
    with pytest.raises(NanolocalError), open_remote(url):
        pass
