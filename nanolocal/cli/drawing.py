"""The options that say how a picture is drawn, and the files that its pictures go to."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.drawing import SCHEDULERS, STEP_CACHES, Drawing, PictureReceipt
from nanolocal.chat.messages import Attachment
from nanolocal.cli.ask import read_attachment
from nanolocal.errors import UsageError

_NO_CACHE = "off"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--like", metavar="FILE", help="with the settings that this picture file tells")
    parser.add_argument("--with-metadata", action="store_true", help="write the settings into the file, too")
    parser.add_argument("--negative", metavar="TEXT", help="what the picture does not show")
    parser.add_argument("--guidance", type=float, metavar="G", help="how strictly the prompt is followed")
    parser.add_argument("--scheduler", metavar="NAME", help=f"the way from noise to picture: {', '.join(SCHEDULERS)}")
    parser.add_argument("--from", "--attach", dest="source", metavar="PICTURE", help="change this picture")
    parser.add_argument("--upscale", metavar="PICTURE", help="make this picture larger, with a build that does so")
    parser.add_argument("--strength", type=float, metavar="S", help="how much of it changes, from 0 to 1")
    parser.add_argument("--mask", metavar="FILE", help="where it changes: a picture that is white there")
    parser.add_argument("--control", metavar="FILE", help="what a ControlNet follows: lines, depths, poses")
    parser.add_argument("--controlnet", metavar="DIR", help="the folder of that ControlNet")
    parser.add_argument(
        "--lora", action="append", default=[], metavar="NAME[:WEIGHT]", help="a LoRA by name or file; may be repeated"
    )
    parser.add_argument(
        "--step-cache",
        choices=(_NO_CACHE, *STEP_CACHES),
        help="leave out work that hardly changes between steps (else as models bench --tune found)",
    )
    parser.add_argument(
        "--keep-preview",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a stop leaves the preview of the picture (the setting keep_preview; else nothing)",
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="so many pictures, each with the next seed")


def wished(args: argparse.Namespace) -> Drawing:
    """The options as wishes; raises ``UsageError`` for a file that cannot be read."""
    return Drawing(
        negative=args.negative,
        guidance=args.guidance,
        scheduler=args.scheduler,
        strength=args.strength,
        mask=_data(args.mask),
        control=_data(args.control),
        controlnet=args.controlnet,
        adapters=tuple(map(_adapter, args.lora)),
        count=args.count,
        keep_preview=args.keep_preview,
        upscales=args.upscale is not None,
        cache="" if args.step_cache == _NO_CACHE else args.step_cache,
    )


def source(args: argparse.Namespace) -> tuple[Attachment, ...]:
    """The picture to change or to enlarge, if there is one; raises ``UsageError`` where there are two."""
    if args.source is not None and args.upscale is not None:
        raise UsageError("--from changes a picture and --upscale enlarges one", "leave one of them out")
    files = (args.source, args.upscale)
    return tuple(_picture(file) for file in files if file is not None)


def settings_of(file: str) -> PictureReceipt:
    """What a picture file tells of how it was drawn; raises ``UsageError`` where it tells nothing."""
    from nanolocal.vault.transfer.picturefiles import settings_in

    found = _picture(file)
    told = settings_in(found.data)
    if told is None:
        raise UsageError(
            f"{found.name} does not tell how it was drawn", "pictures save ID --with-metadata writes it in"
        )
    return told


def leaving(pictures: Sequence[Attachment], *, with_metadata: bool) -> tuple[Attachment, ...]:
    """The pictures as their files are written: pixels alone, or with what they were drawn with."""
    from nanolocal.vault.transfer import picturefiles

    files = ((picture, picturefiles.leaving(picture, with_metadata=with_metadata)) for picture in pictures)
    return tuple(replace(picture, data=data) for picture, data in files)


def places(out: Path, count: int) -> Iterator[Path]:
    """The files of so many pictures: the first as it is called, then NAME-2.png and so on."""
    yield out
    yield from (out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(2, count + 1))


def as_json(pictures: Sequence[Attachment], files: Sequence[Path]) -> list[dict[str, object]]:
    """Each file with its size and how it was drawn."""
    return [
        {"picture": str(file), "bytes": len(picture.data), "seed": PictureReceipt.from_json(picture.receipt).seed}
        for picture, file in zip(pictures, files, strict=True)
    ]


def _adapter(text: str) -> tuple[str, float]:
    name, colon, weight = text.rpartition(":")
    try:
        return (name, float(weight)) if colon and name else (text, 1.0)
    except ValueError:
        return text, 1.0


def _data(file: str | None) -> bytes | None:
    return None if file is None else _picture(file).data


def _picture(file: str) -> Attachment:
    found = read_attachment(Path(file))
    if not found.media_type.startswith("image/"):
        raise UsageError(f"{found.name} is no picture", "give a PNG, JPEG, WebP or GIF")
    return found
