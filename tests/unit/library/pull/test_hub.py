"""The hub of the tests is measured first: what it answers, and what it counts."""

import json
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from tests.hub.faults import Asked, Kind
from tests.hub.reckoning import Blame, blames
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


def asked(start: int, served: int, fault: Kind | None = None, begins: int | None = None) -> Asked:
    return Asked("cdn", "GET", "/", "", f"bytes={start}-", start if begins is None else begins, 206, served, fault, "f")


def test_bytes_that_came_twice_count_for_the_fault_before() -> None:
    requests = [asked(0, 10), asked(10, 6, Kind.RESET), asked(13, 7), asked(20, 10), asked(30, 0, Kind.BUSY)]
    assert blames([*requests, asked(30, 10)], "f", 40, 10) == [Blame(Kind.RESET, 3), Blame(Kind.BUSY, 0)]


def test_a_whole_file_in_place_of_a_part_is_to_blame_itself() -> None:
    requests = [asked(0, 10), asked(10, 15, Kind.WHOLE, begins=0), asked(10, 10)]
    assert blames(requests, "f", 20, 10) == [Blame(Kind.WHOLE, 15)]


def test_a_kill_is_to_blame_for_all_that_came_twice_after_it() -> None:
    requests = [asked(0, 10), asked(10, 10), asked(4, 6), asked(12, 8)]
    assert blames(requests, "f", 20, 10, [2, 4]) == [Blame("kill -9", 14), Blame("kill -9", 0)]


def test_bytes_that_came_twice_without_a_fault_are_not_hidden() -> None:
    assert blames([asked(0, 10), asked(0, 10)], "f", 10, 10) == [Blame("ended with another connection", 10)]
