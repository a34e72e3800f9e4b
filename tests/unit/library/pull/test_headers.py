import base64
import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.library.pull import headers
from nanolocal.library.pull.headers import ContentRange

SIZES = st.integers(0, 10**17)


@given(SIZES, st.integers(1, 10**9), st.one_of(st.none(), st.integers(0, 10**9)))
def test_a_content_range_is_read_as_it_was_written(start: int, length: int, beyond: int | None) -> None:
    total = None if beyond is None else start + length + beyond
    text = f"bytes {start}-{start + length - 1}/{'*' if total is None else total}"
    assert headers.content_range(text) == ContentRange(start, start + length, total)


@given(st.text(max_size=60))
def test_no_text_is_read_as_an_impossible_range(text: str) -> None:
    found = headers.content_range(text)
    assert found is None or (0 <= found.start < found.stop and (found.total is None or found.stop <= found.total))


@pytest.mark.parametrize(
    "text", ["", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "bytes 0-1", "bytes 0-1/2, 3-4/5"]
)
def test_a_range_that_makes_no_sense_is_none(text: str) -> None:
    assert headers.content_range(text) is None


def test_the_size_in_a_refused_range() -> None:
    assert headers.unsatisfied_total("bytes */1234") == 1234
    assert headers.unsatisfied_total("bytes 0-1/1234") is None


@given(st.integers(0, 10**6), st.integers(0, 2 * 10**9))
def test_retry_after_is_seconds_or_a_date(seconds: int, now: int) -> None:
    date = format_datetime(datetime.fromtimestamp(now + seconds, UTC), usegmt=True)
    assert headers.retry_after(str(seconds), 0) == seconds
    assert headers.retry_after(date, now) == seconds


def test_a_date_that_has_passed_is_no_wait() -> None:
    assert headers.retry_after("Thu, 01 Jan 1970 00:00:00 GMT", 10**9) == 0


@given(st.text(max_size=60))
def test_no_retry_after_is_below_zero_or_an_error(text: str) -> None:
    found = headers.retry_after(text, 10**9)
    assert found is None or found >= 0


@given(st.binary())
def test_a_digest_is_read_among_others(content: bytes) -> None:
    digest = hashlib.sha256(content).digest()
    text = f"sha-512=:{base64.b64encode(bytes(64)).decode()}:, sha-256=:{base64.b64encode(digest).decode()}:"
    assert headers.sha256_digest(text) == digest


@pytest.mark.parametrize(
    "text", ["", "sha-256=abc", "sha-256=:====:", f"sha-256=:{'=' * 44}:", f"sha-512=:{'A' * 43}=:"]
)
def test_what_is_no_digest_is_none(text: str) -> None:
    assert headers.sha256_digest(text) is None


def test_a_weak_etag_does_not_tell_versions_apart() -> None:
    assert headers.validator({"etag": '"abc"', "last-modified": "today"}) == '"abc"'
    assert headers.validator({"etag": 'W/"abc"', "last-modified": "today"}) == "today"
    assert headers.validator({"etag": 'W/"abc"'}) == ""


def test_only_a_sha256_is_taken_from_a_linked_etag() -> None:
    assert headers.linked_sha256({"x-linked-etag": f'"{"AB" * 32}"'}) == "ab" * 32
    assert headers.linked_sha256({"x-linked-etag": '"0123456789abcdef0123456789abcdef01234567"'}) == ""


def test_the_next_page() -> None:
    assert headers.next_link('<https://hub/a?cursor=1>; rel="next"') == "https://hub/a?cursor=1"
    assert headers.next_link('<https://hub/a>; rel="prev", <https://hub/b>; rel="next"') == "https://hub/b"
    assert headers.next_link('<https://hub/a>; rel="prev"') == ""
