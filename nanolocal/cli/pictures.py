"""``nanolocal pictures``: the pictures in the vault, what they were drawn with, and drawing them again."""

import argparse
import asyncio
import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.drawing import PictureReceipt, StoredPicture
from nanolocal.chat.messages import Answer, Wishes
from nanolocal.chat.picturefacts import settings
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, agreed, is_quiet, open_session, wants_json, with_session
from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

_SHOWN_ID, _SHOWN_PROMPT = 12, 60
_LARGEST_FILE = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _Redrawn:
    """A picture drawn again: both receipts, and the bytes that are stored and that were drawn."""

    answer: Answer
    before: PictureReceipt
    now: PictureReceipt
    stored: bytes
    data: bytes


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser(
        "pictures", parents=[common], help="list, show, save, draw again, verify, import and delete pictures"
    )
    parser.set_defaults(run=with_session(run_list), words=[], limit=50)
    parts = parser.add_subparsers(metavar="PART")
    listing = parts.add_parser("list", parents=[common], help="the newest pictures, or those whose prompts have words")
    listing.add_argument("words", nargs="*", metavar="WORD", help='also "a phrase", model:NAME, since:7d and the like')
    listing.add_argument("--limit", type=int, default=50, metavar="N")
    listing.set_defaults(run=with_session(run_list))
    show = _part(parts, common, "show", "what a picture was drawn with")
    show.set_defaults(run=with_session(run_show))
    save = _part(parts, common, "save", "write a picture into a file, unencrypted")
    save.add_argument("--out", type=Path, metavar="FILE", help="where it goes; else picture-ID.png here")
    save.add_argument(
        "--with-metadata", action="store_true", help="with what it was drawn with, for other programs too"
    )
    save.add_argument("--force", action="store_true", help="overwrite")
    save.set_defaults(run=with_session(run_save))
    again = _part(parts, common, "again", "draw it once more: the same seed and build give the same bytes")
    again.add_argument("--seed", type=int, metavar="N", help="another seed: a variation")
    again.set_defaults(run=run_again)
    verify = _part(parts, common, "verify", "draw it once more, keep nothing, and compare the bytes")
    verify.set_defaults(run=run_verify)
    taking = parts.add_parser("import", parents=[common], help="take picture files, with the settings that they tell")
    taking.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of nanolocal, A1111, Forge, ComfyUI, any")
    taking.set_defaults(run=with_session(run_import))
    delete = _part(parts, common, "delete", "remove a picture for good; its message stays")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=with_session(run_delete))


def _part(parts: Subparsers, common: argparse.ArgumentParser, name: str, does: str) -> argparse.ArgumentParser:
    parser = parts.add_parser(name, parents=[common], help=does)
    parser.add_argument("picture", metavar="ID", help="its id, or the start of it")
    return parser


def run_list(args: argparse.Namespace, session: "Session") -> int:
    """List pictures, the newest first."""
    if args.limit < 1:
        raise UsageError(f"--limit is at least 1, not {args.limit}", "--limit 20")
    found = session.gallery.pictures(" ".join(args.words), args.limit)
    if wants_json(args):
        output.as_json({"pictures": [asdict(each) for each in found]})
        return 0
    rows = ((each.id[:_SHOWN_ID], _when(each), _origin(each), safe_line(each.prompt)[:_SHOWN_PROMPT]) for each in found)
    output.table(rows, ("ID", "MADE", "BY", "PROMPT"))
    return 0


def run_show(args: argparse.Namespace, session: "Session") -> int:
    """Print what is known of one picture."""
    picture = _picture(args, session)
    if wants_json(args):
        output.as_json(asdict(picture))
        return 0
    output.line(picture.id)
    output.fact("prompt", picture.prompt or "none")
    output.fact("made", f"{_when(picture)}, {_origin(picture)}")
    output.fact("file", f"{picture.size:,} bytes, in conversation {picture.chat_id[:_SHOWN_ID]}")
    for name, value in settings(picture.receipt) if picture.receipt else ():
        output.fact(name, value)
    if picture.receipt is None:
        output.fact("receipt", "none: it was not drawn here, or before receipts were kept")
    return 0


def run_save(args: argparse.Namespace, session: "Session") -> int:
    """Write one picture; nothing but pixels goes out unless the user asks for it."""
    picture = _picture(args, session)
    stored = session.gallery.picture(picture.id)
    out = args.out or Path(f"picture-{picture.id[:_SHOWN_ID]}.png")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", f"--out {out / 'picture.png'}")
    if not args.force and (out.exists() or out.is_symlink()):
        raise UsageError(f"{out} exists", "name another file with --out, or add --force to overwrite")
    data = session.picture_file(stored, with_metadata=args.with_metadata)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}", "choose another file with --out") from error
    if wants_json(args):
        output.as_json({"id": picture.id, "picture": str(out), "bytes": len(data), "metadata": args.with_metadata})
    else:
        output.line(str(out))
    return 0


def run_again(args: argparse.Namespace) -> int:
    """Draw from the receipt into a new conversation."""
    from nanolocal.chat.redrawing import differences

    drawn = asyncio.run(_redrawn(args, Wishes(seed=args.seed)))
    other = differences(drawn.before, drawn.now)
    is_same = drawn.stored == drawn.data
    if wants_json(args):
        answer = drawn.answer
        facts = {"chat_id": answer.chat_id, "message_id": answer.message_id, "cost_micro": answer.cost_micro}
        output.as_json({**facts, "same_bytes": is_same, "differences": other, "receipt": asdict(drawn.now)})
        return 0
    output.line("drawn again, the same bytes" if is_same else "drawn again, another picture")
    for each in other:
        output.line(f"- {each}")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Draw from the receipt, keep nothing, and say whether the bytes are the same; 1 where they are not."""
    from nanolocal.chat.redrawing import differences

    drawn = asyncio.run(_redrawn(args, Wishes(store=False)))
    before, after = (hashlib.sha256(each).hexdigest() for each in (drawn.stored, drawn.data))
    other = differences(drawn.before, drawn.now)
    if wants_json(args):
        hashes = {"sha256": before, "drawn_sha256": after, "cost_micro": drawn.answer.cost_micro}
        output.as_json({"same_bytes": before == after, **hashes, "differences": other})
        return int(before != after)
    if before == after:
        output.line(f"drawn again, the same bytes: SHA-256 {before}")
        return 0
    output.line(f"not the same bytes: {before[:16]} is stored, {after[:16]} was drawn")
    for each in other or ["nothing that the receipt holds: another processor, or the file was changed"]:
        output.line(f"- {each}")
    return 1


def run_import(args: argparse.Namespace, session: "Session") -> int:
    """Take files into the vault; one that cannot be read is told, and the others are taken."""
    taken, problems = [], []
    for file in args.files:
        try:
            taken.append(_taken(file, session))
        except UsageError as problem:
            problems.append(problem)
    if wants_json(args):
        output.as_json({"pictures": taken, "problems": [problem.message for problem in problems]})
    for each in () if wants_json(args) else taken:
        state = "already here" if each["already_here"] else each["found"]
        output.line(f"{each['file']}: {state}")
    for each_problem in problems[:-1]:
        output.error(each_problem)
    if problems:
        raise problems[-1]
    return 0


def run_delete(args: argparse.Namespace, session: "Session") -> int:
    """Delete one picture, its key first."""
    picture = _picture(args, session)
    if not agreed(args, f"Delete picture {picture.id[:_SHOWN_ID]} for good?"):
        return 0
    session.gallery.delete_picture(picture.id)
    if wants_json(args):
        output.as_json({"deleted": picture.id})
    return 0


async def _redrawn(args: argparse.Namespace, wishes: Wishes) -> _Redrawn:
    from nanolocal.chat.redrawing import redrawing
    from nanolocal.cli.turns import take_turn, unsaid

    session = open_session(args)
    try:
        picture = _picture(args, session)
        if picture.receipt is None:
            raise UsageError("this picture has no receipt to draw it from", f"nanolocal pictures show {args.picture}")
        if picture.receipt.stopped_at and not wishes.store:
            again = f"nanolocal pictures again {args.picture}"
            raise UsageError("this is the preview of a picture that was stopped", f"{again} draws it to its end")
        stored = session.gallery.picture(picture.id).data
        how = redrawing(session, picture, picture.receipt, wishes)
        for note in how.notes:
            output.note(note)
        answer = await take_turn(session, how.request, output.Progress(is_quiet(args)), say=False, tell=unsaid)
    finally:
        await session.close(keeps=False)
    if answer.picture is None:
        raise KeyboardInterrupt
    now = PictureReceipt.from_json(answer.picture.receipt)
    return _Redrawn(answer, picture.receipt, now, stored, answer.picture.data)


def _taken(file: Path, session: "Session") -> dict[str, object]:
    from nanolocal.vault.transfer.picturefiles import as_chat

    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{file.name} is larger than 32 MiB", "give a smaller file")
        data, made_at = file.read_bytes(), file.stat().st_mtime
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give another file") from error
    try:
        chat = as_chat(file.name, data, made_at)
    except UsageError as problem:
        raise UsageError(f"{file}: {problem.message}", problem.hint) from problem
    drawn = chat.messages[-1].attachments[0]
    receipt = PictureReceipt.from_json(drawn.receipt) if drawn.receipt else None
    chat_id = session.store.import_chat(chat)
    found = "a picture; the file tells no settings" if receipt is None else f"{receipt.prompt or 'no prompt'}"
    told = None if receipt is None else asdict(receipt)
    return {"file": str(file), "already_here": chat_id is None, "chat_id": chat_id, "found": found, "receipt": told}


def _picture(args: argparse.Namespace, session: "Session") -> StoredPicture:
    """The picture whose id begins as given; raises ``UsageError`` when there is none or more than one."""
    matches = session.gallery.matching(args.picture)
    if len(matches) != 1:
        found = "more than one picture begins" if matches else "no picture begins"
        raise UsageError(f"{found} with {args.picture!r}", "nanolocal pictures list")
    return session.gallery.stored(matches[0])


def _origin(picture: StoredPicture) -> str:
    if picture.made_here:
        return picture.build_id
    return f"{picture.build_id}, imported" if picture.build_id else "attached"


def _when(picture: StoredPicture) -> str:
    return datetime.fromtimestamp(picture.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
