"""The hub of the tests is measured first: what it answers, and what it counts."""

import json
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from tests.hub.faults import Asked, Kind
from tests.hub.reckoning import NOTHING, Blame, blames
from tests.hub.server import Hub
from tests.hub.stored import HOSTILE_NAMES
from tests.unit.library.pull.pulling import Pulling


def ask(hub: Hub, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(hub.endpoint).netloc)
    sent = None if body is None else json.dumps(body).encode()
    connection.request(method, path, sent, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def test_a_large_file_is_led_to_its_host_with_what_it_is(pulling: Pulling) -> None:
    status, headers, content = ask(pulling.hub, "HEAD", "/owner/model/resolve/main/m.gguf")
    assert (status, content) == (302, b"")
    assert headers["x-linked-etag"] == f'"{pulling.file.sha256}"'
    assert headers["x-linked-size"] == str(len(pulling.file.content))
    assert headers["x-repo-commit"] == pulling.hub.repo().commit
    assert headers["location"].startswith(pulling.hub.addresses["cdn"])


def test_a_small_file_is_sent_by_the_hub_in_parts_if_asked(hub: Hub) -> None:
    file = hub.repo().add("config.json", b"0123456789", is_lfs=False)
    path = "/owner/model/resolve/main/config.json"
    status, headers, content = ask(hub, "GET", path, Range="bytes=2-4")
    assert (status, headers["content-range"], headers["etag"], content) == (206, "bytes 2-4/10", file.etag, b"234")
    assert ask(hub, "GET", path, Range="bytes=2-4", If_Range='"other"')[::2] == (200, b"0123456789")
    assert ask(hub, "GET", path, Range="bytes=10-12")[0] == 416
    assert hub.served("config.json") == 13


def test_paths_are_described_on_request(pulling: Pulling) -> None:
    _, _, content = ask(
        pulling.hub, "POST", "/api/models/owner/model/paths-info/main", {"paths": ["m.gguf", "x"], "expand": True}
    )
    (entry,) = json.loads(content)
    assert (entry["path"], entry["lfs"]["oid"]) == ("m.gguf", pulling.file.sha256)


def test_hostile_names_are_listed_and_served_as_they_are(hub: Hub) -> None:
    for name in HOSTILE_NAMES:
        hub.repo().add(name, name.encode(), is_lfs=False)
    _, _, content = ask(hub, "GET", "/api/models/owner/model/revision/main?blobs=true")
    assert [sibling["rfilename"] for sibling in json.loads(content)["siblings"]] == list(HOSTILE_NAMES)
    assert ask(hub, "GET", f"/owner/model/resolve/main/{quote('../x.gguf')}")[2] == b"../x.gguf"


def asked(start: int, served: int, fault: Kind | None = None, read: int | None = None) -> Asked:
    return Asked("cdn", "GET", "/", "", "", start, 206, served, fault, "f", delivered=read)


def test_bytes_that_came_again_count_for_the_fault_whose_answer_was_not_kept() -> None:
    spoilt = [asked(0, 10, Kind.TOO_LONG), asked(0, 0, Kind.BUSY), asked(0, 10)]
    assert blames(spoilt, "f") == [Blame(Kind.TOO_LONG, 10), Blame(Kind.BUSY, 0)]


def test_bytes_that_were_kept_of_a_broken_answer_cost_nothing() -> None:
    broken = [asked(0, 10), asked(10, 6, Kind.RESET), asked(16, 4), asked(15, 5)]
    assert blames(broken[:3], "f") == [Blame(Kind.RESET, 0)]
    assert blames(broken, "f") == [Blame(Kind.RESET, 5)]


def test_what_a_client_does_not_read_is_told_apart() -> None:
    whole = [asked(0, 10), asked(0, 15, Kind.WHOLE, read=0), asked(10, 10)]
    assert blames(whole, "f") == [Blame(Kind.WHOLE, 0, unread=15)]


def test_a_whole_file_that_is_read_in_place_of_a_part_is_to_blame_itself() -> None:
    assert blames([asked(0, 10), asked(0, 20, Kind.WHOLE)], "f") == [Blame(Kind.WHOLE, 10)]


def test_a_kill_is_to_blame_for_all_that_came_twice_after_it() -> None:
    requests = [asked(0, 10), asked(10, 10), asked(4, 6), asked(12, 8)]
    assert blames(requests, "f", [2, 4]) == [Blame("kill -9", 14), Blame("kill -9", 0)]


def test_bytes_that_came_twice_without_a_fault_are_not_hidden() -> None:
    assert blames([asked(0, 10), asked(0, 10)], "f") == [Blame(NOTHING, 10)]
