"""From a conversation to the tokens that a model reads, no more of them than fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nanolocal.chat.context import fit_messages, prompt_room
from nanolocal.chat.messages import Message
from nanolocal.engines.calls import NO_TOOLS, Tools
from nanolocal.engines.ggml import Model
from nanolocal.engines.templates import Piece, Template, TemplateFailed, tidy, without_system
from nanolocal.engines.tokens import Percept, Token, size_of
from nanolocal.errors import BuildFailed, NoBuildFits, UsageError


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to read, the words of the template at its end, and how much of the conversation was left out."""

    tokens: list[Token]
    end: str
    dropped_messages: int = 0
    dropped_tokens: int = 0


class Prompter:
    """Makes prompts for one model with its own chat template; ``sense`` turns a picture or a sound into tokens."""

    def __init__(self, model: Model, build: str, sense: Callable[[bytes], tuple[Token, ...]]) -> None:
        self._model = model
        self._sense = sense
        self._build = build
        words = {"bos_token": model.token_text(model.bos), "eos_token": model.token_text(model.eos)}
        try:
            self._template = Template(model.chat_template(), words)
        except TemplateFailed as error:
            raise BuildFailed(f"{build} cannot chat: {error}", "choose another build") from error

    @property
    def template(self) -> str:
        """The source of the chat template."""
        return self._template.source

    def prompt(self, messages: Sequence[Message], n_ctx: int, max_tokens: int, tools: Tools = NO_TOOLS) -> Prompt:
        """The prompt for ``messages`` that leaves room for an answer.

        Raises ``NoBuildFits`` when the newest message alone is too long, ``BuildFailed`` when the template fails, and
        ``UsageError`` when it has no place for ``tools``.
        """
        if tools and "tools" not in self.template:
            raise UsageError(f"{self._build} cannot be offered tools", "choose another build, or leave them out")
        room = prompt_room(n_ctx, max_tokens)
        talk = tidy(messages)
        tokens, end = self._tokens(talk, tools)
        if size_of(tokens) <= room:
            return Prompt(tokens, end)
        counts = [self._count(message) for message in talk]
        share, overhead = divmod(max(size_of(tokens) - sum(counts), 0), len(talk))
        counts = [count + share for count in counts]
        allowed = room
        while True:
            window = fit_messages([message.role for message in talk], counts, overhead, allowed)
            tokens, end = self._tokens([talk[index] for index in window.kept], tools)
            size = size_of(tokens)
            if size <= room:
                return Prompt(tokens, end, window.dropped_messages, window.dropped_tokens)
            if not window.fits:
                raise NoBuildFits(
                    f"the prompt has {size} tokens, {self._build} reads at most {room}",
                    "shorten it, ask for fewer tokens with --max-tokens, or choose a build with a longer context",
                )
            allowed -= size - room

    def _count(self, message: Message) -> int:
        files = sum(size_of(self._sense(item.data)) for item in message.attachments)
        return len(self._model.tokenize(message.text, special=False)) + files

    def _tokens(self, messages: Sequence[Message], tools: Tools) -> tuple[list[Token], str]:
        """The prompt, and its end if that is the template's."""
        pieces = self._render(messages, tools)
        end = pieces[-1].text if pieces and pieces[-1].message is None else ""
        tokens = self._read(pieces)
        if tokens and isinstance(tokens[-1], Percept):
            raise BuildFailed(f"{self._build} cannot chat: its chat template ends with the file")
        bos = self._model.bos
        return ([bos, *tokens] if self._model.wants_bos and tokens[:1] != [bos] else tokens), end

    def _read(self, pieces: Sequence[Piece]) -> list[Token]:
        """Text is tokenized from file to file."""
        tokens: list[Token] = []
        text: list[Piece] = []
        for piece in pieces:
            if piece.file is None:
                text.append(piece)
                continue
            tokens += [*self._tokenize(text), *self._sense(piece.file)]
            text = []
        return [*tokens, *self._tokenize(text)]

    def _render(self, messages: Sequence[Message], tools: Tools) -> list[Piece]:
        try:
            return self._template.render(messages, tools.offered)
        except TemplateFailed as error:
            merged = without_system(messages)
            if merged == list(messages):
                raise BuildFailed(f"{self._build} cannot chat: {error}", "choose another build") from error
        try:
            return self._template.render(merged, tools.offered)
        except TemplateFailed as error:
            raise BuildFailed(f"{self._build} cannot chat: {error}", "choose another build") from error

    def _tokenize(self, pieces: Sequence[Piece]) -> list[int]:
        """Tokenize all pieces at once, as the model was trained, unless a message's text then acts as a control token.

        Piece by piece, only the template's own words can make control tokens; so when both ways make the same ones, the
        messages have none.
        """
        model = self._model
        whole = model.tokenize("".join(piece.text for piece in pieces), special=True)
        apart = [token for piece in pieces for token in model.tokenize(piece.text, special=piece.message is None)]
        same = list(filter(model.is_control, whole)) == list(filter(model.is_control, apart))
        return whole if same else apart
