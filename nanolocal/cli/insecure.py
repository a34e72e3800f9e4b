"""``--insecure``: plain http to other machines, which is refused otherwise."""

import argparse

from nanolocal.cli import output
from nanolocal.cli.common import is_quiet
from nanolocal.settings import Settings

_MEANS = (
    "plain http is allowed: nobody vouches for what arrives but the checksum that the same server sends, "
    "damage on the way may cost fetching more than a chunk, and a token can be read on the way"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument("--insecure", action="store_true", help="allow http://, as for a mirror in your own network")


def allows_plain(args: argparse.Namespace, settings: Settings) -> bool:
    """Whether the user wants it, on the command line or in the settings; says then what it means."""
    is_allowed: bool = args.insecure or settings.insecure_hub
    if is_allowed and not is_quiet(args):
        output.note(_MEANS)
    return is_allowed
