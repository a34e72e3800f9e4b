"""The one table of commands: the slash menu, the palette, the keys and the help page are all made from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A thing the user can ask for. ``args`` is empty where nothing may follow, ``key`` where no key is bound."""

    name: str
    help: str
    args: str = ""
    key: str = ""

    @property
    def usage(self) -> str:
        """How it is typed, as ``/image PROMPT``."""
        return f"/{self.name} {self.args}".rstrip()

    @property
    def needs_args(self) -> bool:
        """Whether it cannot run without an argument; optional ones are written in brackets."""
        return bool(self.args) and not self.args.startswith("[")


COMMANDS: tuple[Command, ...] = (
    Command("new", "start a conversation", key="ctrl+n"),
    Command("chats", "open, search or delete conversations", key="ctrl+o"),
    Command("model", "choose who answers this conversation", "[BUILD]", key="ctrl+t"),
    Command("auto", "nanolocal picks: quality balanced fast cheap off ask", "[WORD]"),
    Command("once", "choose who answers the next prompt only", "BUILD"),
    Command("pull", "fetch a model while you go on chatting", "[NAME|pause|resume|stop]"),
    Command("compress", "make a build smaller, and see what that costs", "[BUILD|stop]"),
    Command("image", "draw a picture", "PROMPT"),
    Command("compare", "two builds answer the last prompt; judge them blind", "[A B]"),
    Command("pictures", "all pictures: look, search, save, draw again", "[WORDS]", key="f3"),
    Command("why", "why this build answered"),
    Command("regenerate", "answer the last prompt once more", key="ctrl+r"),
    Command("edit", "change the last prompt; both versions stay", key="ctrl+e"),
    Command("copy", "copy the last answer", key="ctrl+y"),
    Command("good", "keep that the last answer was good; again takes it back", "[NOTE]"),
    Command("bad", "keep that the last answer was bad; again takes it back", "[NOTE]"),
    Command("instructions", "what every new conversation begins with", "[TEXT]"),
    Command("credits", "balance, budgets and the last charges"),
    Command("receipt", "how the last answer's charge was reckoned", "[ENTRY]"),
    Command("topup", "grant yourself credits; no money moves", "AMOUNT"),
    Command("redeem", "add the credits of a voucher", "CODE"),
    Command("budget", "limit what may be spent a day, month, conversation", "[SCOPE AMOUNT|off]"),
    Command("save", "write the last answer or picture to an unencrypted file", "[FILE]"),
    Command("attach", "add a text file, a picture or a sound to the prompt", "FILE"),
    Command("theme", "switch between dark and light"),
    Command("passphrase", "set, change or remove the passphrase"),
    Command("recovery", "make a code on paper that opens the vault"),
    Command("lock", "close the vault and every engine", key="ctrl+l"),
    Command("help", "keys and commands", key="f1"),
    Command("quit", "leave nanolocal", key="ctrl+q"),
)


def find(name: str) -> Command | None:
    """The command called ``name``."""
    return next((command for command in COMMANDS if command.name == name), None)


def matching(text: str) -> tuple[Command, ...]:
    """The commands that ``text``, a prompt that starts with ``/`` and has no space yet, may become."""
    if not text.startswith("/"):
        return ()
    return tuple(command for command in COMMANDS if command.name.startswith(text[1:].lower()))


def parse(text: str) -> tuple[str, str] | None:
    """Split ``/name args``; ``None`` when ``text`` is a prompt. A path such as ``/etc/hosts`` is a prompt."""
    head, _, args = text.strip().partition(" ")
    if not head.startswith("/") or not head[1:].isalpha() or "\n" in head:
        return None
    return head[1:].lower(), args.strip()
