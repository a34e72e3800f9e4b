"""Addresses without encryption: none but loopback is asked, unless the user wants it, and none after one with it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanolocal import bootstrap
from nanolocal.errors import UsageError
from nanolocal.library.fit.blocks import FIRST_BLOCK
from nanolocal.library.pull.hops import first_hop
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.ranges import open_remote
from nanolocal.paths import Paths
from tests.hub.client import PATIENT
from tests.hub.faults import Fault, Kind, Once
from tests.hub.mirror import MIRROR, be_a_mirror
from tests.hub.server import Hub
from tests.unit.library.pull.bench import Bench, a_bench, gguf
from tests.unit.library.pull.test_background import until

API = "api/models/owner/model/revision/main"
PLAIN_FILE = f"{MIRROR}/files/small-Q8_0.gguf"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A model on a hub that is another machine, without encryption."""
    with a_bench(tmp_path / "home") as made:
        gguf(made, "small-Q8_0.gguf")
        be_a_mirror(made.hub, monkeypatch)
        yield made


@pytest.fixture
def safe_hub(certificate: Path) -> Iterator[Hub]:
    with Hub(certificate=certificate).running() as hub:
        hub.repo().add("a.gguf", b"x")
        hub.repo().add("b.gguf", b"y")
        yield hub


def ask(endpoint: str, path: str, *, allows_plain: bool = False) -> tuple[object, str | None]:
    async def run() -> tuple[object, str | None]:
        async with Links(endpoint, allows_plain=allows_plain, patience=PATIENT) as links:
            return await links.json(path)

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.255.0.9:80", "[::1]", "[::1]:80"])
def test_loopback_needs_no_encryption(host: str) -> None:
    assert first_hop(f"http://{host}/x", allows_plain=False).scheme == "http"


@pytest.mark.parametrize("host", [
    "mirror.example", "192.168.0.7:8080", "[fe80::1]", "0.0.0.0", "[::]", "128.0.0.1", "127.1", "2130706433",
    "localhost.", "localhost.example", "127.0.0.1.example", "127.0.0.1@mirror.example", "xn--lcalhost-2ya",
])  # fmt: skip
def test_any_other_host_does(host: str) -> None:
    with pytest.raises(UsageError, match="plain http to") as refused:
        first_hop(f"http://{host}/x", allows_plain=False)
    assert "--insecure" in refused.value.hint and "insecure_hub" in refused.value.hint
    assert first_hop(f"http://{host}/x", allows_plain=True)
    assert first_hop(f"https://{host}/x", allows_plain=False)


@pytest.mark.parametrize("typed", ["owner/model", PLAIN_FILE])
def test_another_machine_is_not_asked_and_nothing_is_made(mirror: Bench, typed: str) -> None:
    with pytest.raises(UsageError, match=r"plain http to mirror\.example is refused"):
        mirror.pull(typed)
    assert mirror.asked == []
    assert mirror.hub.asked == []
    assert not mirror.root.exists()


@pytest.mark.parametrize("typed", ["owner/model", PLAIN_FILE])
def test_it_is_asked_where_the_user_wants_that(mirror: Bench, typed: str) -> None:
    done = mirror.pull(typed, allows_plain=True)
    assert done.build is not None
    assert list(mirror.held().values()) == [mirror.hub.repo().files["small-Q8_0.gguf"].content]
    assert any(asked.path.startswith(MIRROR) for asked in mirror.hub.asked)


def test_a_header_is_not_read_from_it_either(mirror: Bench) -> None:
    with pytest.raises(UsageError, match="plain http to"), open_remote(PLAIN_FILE):
        pass
    assert mirror.hub.asked == []
    with open_remote(PLAIN_FILE, allows_plain=True) as file:
        content = file.read_range(0, min(file.size, FIRST_BLOCK))
    assert mirror.hub.repo().files["small-Q8_0.gguf"].content.startswith(content)


@pytest.mark.parametrize("allows_plain", [False, True])
def test_loopback_leads_to_it_only_where_the_user_wants_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allows_plain: bool
) -> None:
    with a_bench(tmp_path / "home") as bench:
        gguf(bench, "small-Q8_0.gguf")
        bench.endpoint = bench.hub.endpoint
        be_a_mirror(bench.hub, monkeypatch)
        bench.hub.addresses["elsewhere"] = f"{MIRROR}/files/small-Q8_0.gguf?"
        bench.hub.plan = lambda asked: Fault(Kind.ELSEWHERE) if asked.leads_on else None
        if allows_plain:
            assert bench.pull("owner/model", allows_plain=True).build is not None
        else:
            with pytest.raises(UsageError, match="plain http to"):
                bench.pull("owner/model")
        assert any(asked.path.startswith(MIRROR) for asked in bench.hub.asked) is allows_plain


@pytest.mark.parametrize("allows_plain", [False, True])
def test_no_encrypted_hub_leads_to_it_whatever_the_user_wants(safe_hub: Hub, allows_plain: bool) -> None:
    safe_hub.plan = Once(*[Fault(Kind.DOWNGRADE)] * 2)
    with pytest.raises(UsageError, match="without encryption") as refused:
        ask(safe_hub.endpoint, safe_hub.url("a.gguf"), allows_plain=allows_plain)
    assert refused.value.hint == "use another hub or address"
    with (
        pytest.raises(UsageError, match="without encryption"),
        open_remote(safe_hub.url("a.gguf"), allows_plain=allows_plain),
    ):
        pass
    assert {asked.host for asked in safe_hub.asked} == {"hub"}


def test_the_next_page_of_an_encrypted_hub_is_encrypted_too(safe_hub: Hub) -> None:
    endpoint, safe_hub.page_size = safe_hub.endpoint, 1
    tree = f"api/models/owner/model/tree/{safe_hub.repo().commit}"
    assert ask(endpoint, tree)[1]
    safe_hub.addresses["hub"] = safe_hub.addresses["elsewhere"]
    with pytest.raises(UsageError, match="without encryption"):
        ask(endpoint, tree, allows_plain=True)


def test_the_app_asks_it_where_the_settings_say_so(mirror: Bench) -> None:
    home = Paths.choose(mirror.root)
    home.settings.parent.mkdir(parents=True)
    home.settings.write_text(f'hub = "{MIRROR}"\n')

    def news() -> str:
        session = bootstrap.open_session(home, None)
        session.pulls.start("owner/model")
        until(lambda: not session.pulls.is_running)
        asyncio.run(session.close())
        return session.pulls.news()

    refusal = news()
    assert "Plain http to mirror.example is refused" in refusal and "insecure_hub = true" in refusal
    assert mirror.hub.asked == []
    home.settings.write_text(f'hub = "{MIRROR}"\ninsecure_hub = true\n')
    assert "small:Q8_0 is in the library" in news()
