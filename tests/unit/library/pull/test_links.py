import asyncio
import json
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from nanolocal import __version__
from nanolocal.errors import NanolocalError, TransferFailed, UsageError
from nanolocal.library.pull.faults import Fault as Broken
from nanolocal.library.pull.links import Links
from tests.hub.client import PATIENT
from tests.hub.faults import Asked, Fault, Kind, Once
from tests.hub.server import Hub
from tests.unit.library.pull.pulling import TOKEN, Pulling

API = "api/models/owner/model/revision/main"


def ask(hub: Hub, path: str, token: str = "", says: Callable[[str], None] = print) -> tuple[object, str | None]:
    async def run() -> tuple[object, str | None]:
        async with Links(hub.endpoint, token, patience=PATIENT, says=says) as links:
            return await links.json(path, {"blobs": "true"})

    return asyncio.run(run())


def refused(hub: Hub, path: str = API, token: str = "") -> NanolocalError:
    with pytest.raises(TransferFailed) as caught:
        ask(hub, path, token)
    return caught.value


def follow(hub: Hub, url: str, token: str = TOKEN) -> int:
    async def run() -> int:
        async with Links(hub.endpoint, token, patience=PATIENT) as links, links.get(url, {}) as reply:
            return reply.status

    return asyncio.run(run())


def test_the_api_is_asked_as_its_own_client_would(pulling: Pulling) -> None:
    value, following = ask(pulling.hub, API)
    assert isinstance(value, dict)
    assert value["siblings"][0]["lfs"]["sha256"] == pulling.file.sha256
    assert following is None


def test_pages_are_named_and_followed_only_on_request(hub: Hub) -> None:
    for number in range(5):
        hub.repo().add(f"{number}.gguf", b"x")
    hub.page_size = 2
    page: str | None = f"api/models/owner/model/tree/{hub.repo().commit}"
    seen = []
    while page is not None:
        entries, page = ask(hub, page)
        assert isinstance(entries, list)
        seen += [entry["path"] for entry in entries]
    assert seen == [f"{number}.gguf" for number in range(5)]


def test_a_gated_model_says_which_licence_to_accept_and_with_what(hub: Hub) -> None:
    hub.repo().is_gated = True
    hub.accounts[TOKEN] = set()
    page = f"{hub.endpoint}/owner/model"
    without, foreign, not_accepted = refused(hub), refused(hub, token="hf_unknown"), refused(hub, token=TOKEN)
    assert without.hint == f"accept the licence at {page} and keep a token of your account: nanolocal models token"
    assert "the token does not open this" in foreign.hint
    assert not_accepted.hint == f"accept the licence at {page} with the account of your token"
    assert "restricted" in not_accepted.message
    hub.accounts[TOKEN].add("owner/model")
    assert ask(hub, API, TOKEN)


def test_a_name_that_is_not_there_is_said_plainly(hub: Hub) -> None:
    hub.accounts[TOKEN] = set()
    error = refused(hub, token=TOKEN)
    assert "has no /api/models/owner/model/revision/main" in error.message
    assert "check the name" in error.hint


def test_a_busy_hub_is_asked_again_after_the_time_it_names(pulling: Pulling) -> None:
    heard: list[str] = []
    pulling.hub.plan = Once(Fault(Kind.BUSY, says="0"), Fault(Kind.UNAVAILABLE, says=formatdate(time.time() - 9)))
    assert ask(pulling.hub, API, says=heard.append)
    assert len(heard) == 2
    assert "asks to wait: trying again in 0 s" in heard[0]


def test_a_hub_that_stays_busy_is_given_up(pulling: Pulling) -> None:
    pulling.hub.plan = lambda asked: Fault(Kind.BUSY, says="0")
    assert "asks to wait" in refused(pulling.hub).message
    assert len(pulling.hub.asked) == 4


def test_without_a_network_the_hint_is_about_the_network() -> None:
    with Hub().running() as hub:
        pass
    error = refused(hub)
    assert "no connection to 127.0.0.1" in error.message
    assert "HF_ENDPOINT" in error.hint


def test_what_is_not_json_or_too_long_is_no_hub(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not JSON" in refused(pulling.hub, "files/m.gguf").message
    monkeypatch.setattr("nanolocal.library.pull.links.MAX_JSON_BYTES", 1000)
    assert "longer than" in refused(pulling.hub, "files/m.gguf").message


def test_json_nested_without_end_is_no_hub(hub: Hub) -> None:
    hub.repo().add("deep.json", b"[" * 200_000, is_lfs=False)
    assert "not JSON" in refused(hub, "files/deep.json").message


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "https://", "http://[::1", "https://ho st/\x00"])
def test_only_web_addresses_are_asked(hub: Hub, url: str) -> None:
    with pytest.raises((TransferFailed, UsageError)):
        follow(hub, url)


def test_the_token_goes_to_the_hub_and_nowhere_else(pulling: Pulling) -> None:
    pulling.hub.accounts[TOKEN] = set()
    assert follow(pulling.hub, pulling.hub.url("m.gguf")) == 200
    pulling.hub.plan = Once(Fault(Kind.ELSEWHERE))
    assert follow(pulling.hub, pulling.hub.url("m.gguf")) == 200
    assert pulling.hub.authorizations("hub") == {f"Bearer {TOKEN}"}
    assert pulling.hub.authorizations("cdn") == pulling.hub.authorizations("elsewhere") == {""}


def test_an_address_on_another_host_gets_no_token_from_the_beginning(pulling: Pulling) -> None:
    assert follow(pulling.hub, f"{pulling.hub.addresses['cdn']}/{pulling.file.sha256}") == 200
    assert pulling.hub.authorizations("cdn") == {""}


def test_redirects_without_end_are_left(pulling: Pulling) -> None:
    pulling.hub.plan = Once(Fault(Kind.LOOP))
    with pytest.raises(TransferFailed, match="without end"):
        follow(pulling.hub, pulling.hub.url("m.gguf"), "")
    assert len(pulling.hub.asked) == 11


def test_no_cookie_is_kept_and_the_program_is_named(pulling: Pulling) -> None:
    async def run() -> list[str]:
        async with Links(pulling.hub.endpoint, patience=PATIENT) as links:
            for _ in range(2):
                async with links.get(pulling.hub.url("m.gguf"), {}) as reply:
                    assert "set-cookie" in reply.headers
            return [cookie.name for cookie in links._client.cookies.jar]

    assert asyncio.run(run()) == []
    assert {(asked.agent, asked.cookie, asked.encoding) for asked in pulling.hub.asked} == {
        (f"nanolocal/{__version__}", "", "identity")
    }


def test_a_silent_server_is_a_fault(pulling: Pulling) -> None:
    def silent(asked: Asked) -> None:
        pulling.hub.closing.wait()

    pulling.hub.plan = silent

    async def run() -> None:
        async with Links(pulling.hub.endpoint, seconds=0.2) as links, links.get(pulling.hub.url("m.gguf"), {}):
            pass

    with pytest.raises(Broken, match="fell silent"):
        asyncio.run(run())
    pulling.hub.closing.set()


def test_a_proxy_that_cannot_be_used_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(UsageError, match="network settings") as caught:
        ask(hub, API)
    assert "ALL_PROXY" in caught.value.hint


def test_json_answers_are_what_the_hub_holds(hub: Hub) -> None:
    hub.repo().add("config.json", json.dumps({"a": 1}).encode(), is_lfs=False)
    assert ask(hub, hub.url("config.json"))[0] == {"a": 1}


@pytest.mark.parametrize("location", ["http://[::1", "ftp://host/x", "file:///etc/passwd"])
def test_a_redirect_to_no_web_address_leads_nowhere(pulling: Pulling, location: str) -> None:
    pulling.hub.addresses["elsewhere"] = location
    pulling.hub.plan = Once(Fault(Kind.ELSEWHERE))
    with pytest.raises((TransferFailed, Broken)):
        follow(pulling.hub, pulling.hub.url("m.gguf"), "")
    assert len(pulling.hub.asked) == 1
