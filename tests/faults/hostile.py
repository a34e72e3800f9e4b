"""Text that a terminal would act on, a session full of it, and a strict reader of what came out of a terminal."""

import json
import re
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.events import ContextDropped, Loading
from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.chat.routes import Rejected, RunnerUp
from nanolocal.errors import EngineFailed, VaultLocked
from tests.fakes.session import (
    IMAGE_BUILD,
    ROUTE,
    TEXT_BUILD,
    FakeEntry,
    FakeMachine,
    FakeProblem,
    FakeSession,
    FakeVault,
)

MARK = "zqx"
"""Stands in every payload: where it is on the screen, the payload was drawn, and harmless."""

PAYLOADS = {
    "OSC 52, BEL": "\x1b]52;c;enF4zqxA\x07",
    "OSC 52, ST": "\x1b]52;c;enF4zqxB\x1b\\",
    "OSC 8": "\x1b]8;;http://zqxC.example\x1b\\zqxD\x1b]8;;\x1b\\",
    "OSC 0": "\x1b]0;zqxE\x07",
    "OSC 1337": "\x1b]1337;File=zqxF:AAAA\x07",
    "DCS": "\x1bP$qzqxG\x1b\\",
    "APC": "\x1b_Gzqx=H;AAAA\x1b\\",
    "PM and SOS": "\x1b^zqxI\x1b\\\x1bXzqxJ\x1b\\",
    "CSI": "\x1b[31337mzqxK\x1b[31337;1H\x1b[2J\x1b[6n",
    "CSI private": "\x1b[?31337hzqxL\x1b[?1049l",
    "RIS": "\x1bczqxM",
    "charset": "\x1b(0zqxN\x0e\x0f",
    "C1 CSI": "\x9b31337mzqxO",
    "C1 OSC": "\x9d52;c;zqxP\x9c",
    "C1 DCS": "\x90$qzqxQ\x9c",
    "C1 others": "\x84zqxR\x85\x8d\x8e\x8f\x98\x9a\x9e\x9f",
    "C0": "zqxS\x00\x01\x05\x07\x08\x0b\x0c\x0e\x11\x13\x18\x1a\x1c\x7f",
    "return": "zqxT\rzqxU",
    "bidi": "\u202ezqxV\u202c\u2066zqxW\u2069\u200f\u061c",
    "invisible": "zqx\u200bX\u2060\ufeff\u00ad\u180e",
    "tags": "zqxY" + "".join(chr(0xE0000 + ord(letter)) for letter in "hidden"),
    "surrogate": "zqxZ\ud800\udc9b",
    "entities": "&#27;]52;c;zqx0&#7; &#x202e;zqx1 &rlm;&lrm;&shy;&ZeroWidthSpace;&#x9b;31337m &#xd800;",
    "percent": "<http://zqx2/%1b]52;c;AAAA%07%C2%9B31337m%E2%80%AE> https://zqx3.example/%1b%5b31337m%E2%80%AEx",
    "markup": "[link=http://zqx4]zqx5[/link] [@click=app.quit]zqx6[/] [on red]zqx7[/]",
}
ENCODED = {"surrogate", "entities", "percent", "markup"}
"""Harmless until something decodes them."""
ALL = " ".join(PAYLOADS.values())
LINE = ALL.replace("\r", "").replace("\x85", "")
FILE = "\x1b]52;c;zqxa\x07\x9b31337m\u202ezqxb\x7f\x08"
"""A file's name may hold all of this; it is short enough for every file system."""

MARKDOWN = "\n\n".join([
    f"# {LINE}",
    f"**{LINE}** *{LINE}*",
    f"[text {LINE}](http://zqxl.example/%1b%5d52 \"{LINE[:60]}\")",
    f"![alt {LINE}](http://zqxi.example/%1b%5d52)",
    "<http://zqxu.example/%1b]52;c;x%07>",
    f"```{FILE}\n{ALL}\n```",
    f"```python\nx = '{LINE}'  # {LINE}\n```",
    f"| {LINE} | b |\n|---|---|\n| {LINE} | {LINE} |",
    f"> {LINE}",
    f"- {LINE}\n- [ ] {LINE}",
    f"<div title='{LINE}'>{LINE}</div>",
    f"`{LINE}` <b>{LINE}</b>",
    f"[ref][r]\n\n[r]: http://zqxr.example/%1b%5d52 '{LINE[:40]}'",
    f"\x1b\x1b{LINE}",
])  # fmt: skip

LAST = "the last of all notices"
"""Is on the screen once a session is wholly drawn."""

_OWN = re.compile(
    r"""
      \x1b\[[0-9]{1,3}(?:;[0-9]{1,3})*m          # colours and attributes
    | \x1b\[[0-9]{1,3};[0-9]{1,3}H              # where to draw
    | \x1b\[\?(?:25|1000|1002|1003|1004|1006|1015|1016|1049|2004|2026|2048|7)(?:[hl]|\$p)   # modes and their questions
    | \x1b\[[<>][0-9]{0,2}u                      # the keyboard protocol
    | \x1b\]22;(?:default|text|pointer)\x07       # the mouse pointer's shape
    """,
    re.VERBOSE,
)
"""The sequences that Textual itself writes here; anything else that begins with ESC came from a text."""
_ACTS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\u00ad\u180e"
    "\U000e0000-\U000e007f]|\r(?!\r*\n)"
)


def acted_on(raw: bytes, *, own: re.Pattern[str] = _OWN) -> list[str]:
    """Everything in a terminal's input that is neither text nor one of the program's ``own`` sequences, in context."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"not UTF-8 at {error.start}: {raw[max(0, error.start - 20) : error.start + 20]!r}"]
    rest = own.sub("", text)
    return [repr(rest[max(0, hit.start() - 20) : hit.end() + 30]) for hit in _ACTS.finditer(rest)]


def file_attachment() -> Attachment:
    return Attachment(f"{FILE}.txt", "text/plain", ALL.encode("utf-8", "surrogatepass"))


def hostile_session() -> FakeSession:
    """Every field of a session says all payloads; the model says them a character at a time."""
    session = FakeSession()
    text_build = replace(TEXT_BUILD, id=f"evil{LINE}", name=f"Evil {LINE}", quantization=FILE, licence=LINE)
    session.library.stored = (text_build, replace(IMAGE_BUILD, name=LINE, quantization=LINE))
    session.library.unusable = (FakeProblem(Path(f"{FILE}.gguf"), LINE),)
    session.ledger.entries += [FakeEntry(2, 1.0, LINE, -5, LINE, LINE)]
    session.vault = vault = FakeVault()
    vault.notices = [f"{LAST} {LINE}"]
    store = session.store
    for chat_id in ("c1", "c2"):
        parent = store.add(chat_id, None, Message(Role.USER, ALL, (file_attachment(),)))
        answer = Message(Role.ASSISTANT, MARKDOWN.encode("utf-8", "replace").decode())  # as a vault keeps it
        route = {"build": LINE, "task": LINE, "reasons": [LINE], "runners_up": [{"build_id": LINE, "score": LINE,
                 "reason": LINE}], "rejected": [LINE]}  # fmt: skip
        store.add(chat_id, parent, answer, build_id=LINE, task=LINE, stopped=LINE, route_json=json.dumps(route))
        store.titles[chat_id] = LINE
    store.settings["draft"] = ALL
    session.chat.route = replace(
        ROUTE,
        task=LINE,
        build=text_build,
        reasons=(LINE,),
        runners_up=(RunnerUp(LINE, 0.5, LINE),),
        rejected=(Rejected(LINE, LINE, LINE),),
    )
    session.chat.script = [Loading(LINE, 0.5), ContextDropped(3, 70), *MARKDOWN]
    return session


def hostile_machine() -> FakeMachine:
    return FakeMachine(processor=LINE, accelerators=(LINE,))


def locked() -> VaultLocked:
    return VaultLocked(f"locked {LINE}", LINE)


def failed() -> EngineFailed:
    return EngineFailed(f"failed {LINE}", LINE)
