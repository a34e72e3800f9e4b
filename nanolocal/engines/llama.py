"""The text engine: one model, one context, several conversations in it that are answered together. Runs in the child.

Every step is one ``llama_decode``: the newest token of each answer, with guesses at what follows it, and a piece of a
prompt that is being read.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from nanolocal.chat.messages import Attachment, Message, Role, Stopped
from nanolocal.chat.sounds import begins_like_sound
from nanolocal.chat.tuning import Tuning
from nanolocal.engines import allocator, states
from nanolocal.engines.answer import Answer
from nanolocal.engines.calls import Tools
from nanolocal.engines.draft import Draft, Drafted
from nanolocal.engines.failures import failed
from nanolocal.engines.ggml import PICTURE_BATCH, ROWS, Context, Model, Part, uses_flash_attention
from nanolocal.engines.lookup import Guesser, Lookup
from nanolocal.engines.pace import Pace
from nanolocal.engines.parts import splitter
from nanolocal.engines.prompt import Prompter
from nanolocal.engines.protocol import (
    Done,
    Dropped,
    Keep,
    Kept,
    Leaving,
    LoadText,
    Progress,
    Read,
    Reply,
    Run,
    RunText,
)
from nanolocal.engines.senses import Senses
from nanolocal.engines.slots import Slot, Slots, common_beginning
from nanolocal.engines.states import Reader, State, Unreadable
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Percept, Token, size_of, steps_of, text_of
from nanolocal.errors import Damaged, EngineFailed, NanolocalError, OutOfMemory, UsageError

_PROGRESS_STEP = 0.02
_MIN_CONTEXT = 64
_BESIDE = 64
"""Prompt tokens read in a step that other answers wait for."""
_WORTH_TOKENS = 64
"""Fewer are read again sooner than they are brought back."""
_GROWN = 1 / 16
"""What was kept is written anew when it has become longer by so much."""
_RESTORED_S = 2 / 300e6
"""Seconds for a byte of a kept state to come back, with a margin, to be weighed against reading its tokens again."""


@dataclass(slots=True, eq=False)
class _Task:
    """A job under way: it waits for a slot, then reads its prompt, then writes ``answer``."""

    job: RunText
    began: float
    n_ctx: int
    tokens: list[Token]
    total: int
    answer: Answer
    slot: Slot | None = None
    cached: int = 0
    read_at: float = 0.0
    read_s: float = 0.0
    is_writing: bool = False
    newest: int = 0
    lookup: Guesser | None = None
    cpu_s: float = 0.0

    @property
    def places(self) -> int:
        """What it may come to hold."""
        return min(self.total + self.job.max_tokens, self.n_ctx)


class TextEngine:
    """A loaded GGUF file. ``emit`` takes what happens, ``ask`` waits for the answer to a ``Leaving``.

    Raises ``EngineFailed`` when it cannot be loaded.
    """

    def __init__(
        self, request: LoadText, emit: Callable[[Reply], None], stop: StopFlag, ask: Callable[[], Keep | None]
    ) -> None:
        allocator.keep_no_large_blocks()
        self._emit = emit
        self._ask = ask
        self._stop = stop
        self._pace = Pace(request.threads)
        batch = (
            max(request.batch, PICTURE_BATCH) if request.projector else request.batch
        )  # pictures and sounds are read in whole parts
        self._tuning = Tuning(0, batch, request.flash, request.maps, request.gpu_layers)
        self._model = Model(Path(request.path), _throttled(emit), self._tuning)
        self._build = request.build
        self._projector = request.projector
        self._senses: Senses | None = None
        self._prompter = Prompter(self._model, request.build, self._sense)
        self._kv = request.kv
        layout = f"{request.kv} {'flash' if uses_flash_attention(request.kv, request.flash) else 'scores'}"
        self._stamp = f"{version('llama-cpp-python')} {layout}"
        self._open(self._context_size(request.n_ctx))
        self._draft = self._drafting(request)
        self._tasks: list[_Task] = []
        self._read_rate = 0.0
        self._cpu_s = time.process_time()

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way."""
        return bool(self._tasks)

    def take(self, job: Run) -> None:
        """Begin a job. Raises ``NoBuildFits``, ``EngineFailed``, ``UsageError`` for a file that cannot be read."""
        if not isinstance(job, RunText):
            raise EngineFailed("a text engine writes text alone")
        began = time.monotonic()
        n_ctx = self._context_size(job.n_ctx)
        tools = Tools(job.tools)
        prompt = self._prompter.prompt(_messages(job), n_ctx, job.max_tokens, tools)
        if prompt.dropped_messages:
            self._emit(Dropped(job.job, prompt.dropped_messages, prompt.dropped_tokens))
        total = size_of(prompt.tokens)
        parts = splitter(self._prompter.template, prompt.end, tools)
        limit = min(job.max_tokens, n_ctx - total)
        answer = Answer(job, self._model, parts, text_of(prompt.tokens), limit, self._emit)
        self._tasks.append(_Task(job, began, n_ctx, prompt.tokens, total, answer))

    def step(self) -> None:
        """Do a piece of work for every job that can go on; what goes wrong in it ends those that took part."""
        for task in [task for task in self._tasks if self._stop.stops(task.job.job)]:
            self._finish(task, Stopped.USER)
        self._seat_waiting()
        seated = [task for task in self._tasks if task.slot is not None]
        if not seated:
            return
        try:
            self._advance(seated)
        except Exception as error:  # whatever a library raises, each job gets one clear line
            for task in [task for task in seated if task in self._tasks]:
                self._fail(task, error)
        self._share_cpu(seated)
        for task in [task for task in seated if task in self._tasks]:
            if task.answer.ended is not None:
                self._finish(task, task.answer.ended)

    def leave(self) -> None:
        """Offer every conversation to be kept; the engine is not used after that."""
        for slot in self._slots:
            self._keep(slot)

    def _seat_waiting(self) -> None:
        """Give slots to those that wait, in their order, until one has to wait on."""
        for task in [task for task in self._tasks if task.slot is None]:
            try:
                is_seated = self._seat(task)
            except Exception as error:  # as above
                self._fail(task, error)
                continue
            if not is_seated:
                return

    def _seat(self, task: _Task) -> bool:
        """Give ``task`` a slot with as much of its prompt as is known already; false while there is none."""
        if task.n_ctx > self._context.size:
            if any(other.slot is not None for other in self._tasks):
                return False
            self._widen(task)
        task.slot = slot = self._slots.take(task.tokens, task.places, task.job.chat)
        if slot is None:
            return False
        if task.job.snapshot:
            self._restore(task, slot)
        task.read_at = time.monotonic()
        task.cached = slot.held.size
        self._emit(Read(task.job.job, task.cached, task.total, task.cached))
        return True

    def _advance(self, seated: Sequence[_Task]) -> None:
        """One step: the newest token of each answer, and as much of one prompt as there is room for."""
        writing = [task for task in seated if task.is_writing]
        reading = next((task for task in seated if not task.is_writing), None)
        pieces: list[tuple[_Task, Sequence[Token], list[int]]] = []
        if reading is not None:
            piece = self._next_piece(reading, _BESIDE if writing else self._context.batch)
            if isinstance(piece[0], Percept):
                self._take_in(reading, piece[0])
                return
            pieces.append((reading, piece, []))
        is_alone = len(seated) == 1
        for task in writing:
            guesses = task.lookup.guess(ROWS - 1) if task.lookup is not None and is_alone else []
            room = task.places - _slot_of(task).held.size - 1
            pieces.append((task, [task.newest], guesses[:room]))
        began = time.monotonic()
        if not self._context.decode([self._part(*piece) for piece in pieces]):
            for task, _, _ in pieces:
                self._slots.undo(_slot_of(task))
            return
        seconds = time.monotonic() - began
        row = 0
        for task, piece, guesses in pieces:
            _slot_of(task).held.add(piece)
            row += len(piece)
            try:
                if not task.is_writing:
                    self._has_read(task, row - 1)
                else:
                    right = self._write(task, row - 1, guesses)
                    if task.lookup is not None and is_alone:
                        task.lookup.learn(len(guesses), right, seconds)
            except NanolocalError as error:
                self._fail(task, error)
            row += len(guesses)

    def _part(self, task: _Task, piece: Sequence[Token], guesses: Sequence[int]) -> Part:
        held = _slot_of(task).held
        is_predicted = task.is_writing or len(held.tokens) + len(piece) == len(task.tokens)
        return Part(_slot_of(task).sequence, [*text_of(piece), *guesses], held.position, is_predicted + len(guesses))

    def _next_piece(self, task: _Task, most: int) -> Sequence[Token]:
        held = len(_slot_of(task).held.tokens)
        return next(steps_of(task.tokens[held : held + most], most))

    def _take_in(self, task: _Task, percept: Percept) -> None:
        assert self._senses is not None
        slot = _slot_of(task)
        if self._senses.read(percept, self._context, slot.sequence, slot.held.position):
            slot.held.add([percept])
            self._has_read(task, 0)
        else:
            self._slots.undo(slot)

    def _has_read(self, task: _Task, row: int) -> None:
        """Some more of the prompt is read; after the last of it, the answer begins with the prediction at ``row``."""
        held = _slot_of(task).held
        self._emit(Read(task.job.job, held.size, task.total, task.cached))
        if len(held.tokens) < len(task.tokens):
            return
        task.read_s = time.monotonic() - task.read_at
        self._read_rate = _rate(task.total - task.cached, task.read_s) or self._read_rate
        task.is_writing = True
        if self._context.sequences > 1 and task.job.guesses:
            text = text_of(task.tokens)
            drafts = self._draft is not None and task.job.drafts and len(text) == len(task.tokens)
            task.lookup = Drafted(self._draft, text) if self._draft is not None and drafts else Lookup(text)
        self._write(task, row, [])

    def _write(self, task: _Task, row: int, guesses: Sequence[int]) -> int:
        """Write the prediction at ``row`` and those after it as far as ``guesses`` are right: so many are returned."""
        slot = _slot_of(task)
        right = 0
        while True:
            task.newest = task.answer.write(self._context, row + right)
            if task.lookup is not None:
                task.lookup.add(task.newest)
            if task.answer.ended is not None or right == len(guesses) or guesses[right] != task.newest:
                break
            slot.held.add([task.newest])
            right += 1
        if right < len(guesses):
            self._slots.undo(slot)
        return right

    def _finish(self, task: _Task, stopped: Stopped) -> None:
        """The end of a job, whatever it came to."""
        answer = task.answer
        try:
            answer.finish()
        except EngineFailed as error:
            self._fail(task, error)
            return
        read = 0 if task.slot is None else task.slot.held.size
        done = Done(
            job=task.job.job,
            stopped=stopped,
            memory=0,
            prompt_tokens=task.total if task.is_writing else read,
            cached_tokens=task.cached,
            completion_tokens=answer.tokens,
            ttft_s=answer.first_at - task.began if answer.tokens else 0.0,
            prompt_tok_s=_rate(task.total - task.cached, task.read_s),
            decode_tok_s=_rate(answer.tokens - 1, answer.last_at - answer.first_at),
            cpu_s=task.cpu_s,
            guess_gain=0.0 if task.lookup is None else task.lookup.gain,
        )
        self._end(task)
        self._emit(done)

    def _fail(self, task: _Task, error: Exception) -> None:
        """A job that goes no further; what its slot holds is not known."""
        if task.slot is not None:
            self._slots.clear(task.slot)
        self._end(task)
        self._emit(failed(task.job.job, error))

    def _end(self, task: _Task) -> None:
        self._tasks.remove(task)
        self._stop.end(task.job.job)
        if task.slot is not None:
            self._slots.release(task.slot)
        task.answer.close()
        if self._senses is not None and not self._tasks:
            self._senses.forget()

    def _share_cpu(self, tasks: Sequence[_Task]) -> None:
        """The processor time since the last step is that of ``tasks``, in equal parts."""
        now = time.process_time()
        for task in tasks:
            task.cpu_s += (now - self._cpu_s) / len(tasks)
        self._cpu_s = now

    def _sense(self, file: bytes) -> tuple[Token, ...]:
        """What a file becomes. The projector is loaded for the first one, so that text alone never needs it."""
        if not self._projector:
            what = "listen to sounds" if begins_like_sound(file) else "look at pictures"
            raise UsageError(f"{self._build} cannot {what}", "choose a build with a projector")
        if self._senses is None:
            self._senses = Senses(Path(self._projector), self._model, self._pace.threads, self._stop)
        return self._senses.tokens(file)

    def _open(self, n_ctx: int) -> None:
        self._context = Context(self._model, n_ctx, self._pace, self._stop.buffer, self._kv, self._tuning)
        self._slots = Slots(self._context, self._keep)

    def _drafting(self, request: LoadText) -> Draft | None:
        """The build that writes ahead; one that cannot is done without."""
        if not request.draft or self._context.sequences == 1:
            return None
        try:
            return Draft(Path(request.draft), self._model, self._context.size, request.threads, self._stop)
        except (EngineFailed, Damaged):
            return None

    def _context_size(self, wanted: int) -> int:
        return max(min(wanted, self._model.trained_context or wanted), _MIN_CONTEXT)

    def _widen(self, task: _Task) -> None:
        """Make a longer context for ``task``; what the old one has read of its prompt goes along."""
        source = max(self._slots, key=lambda slot: slot.common(task.tokens))
        for slot in self._slots:
            if slot is not source:
                self._keep(slot)
        state = self._state(source) if source.common(task.tokens) >= _WORTH_TOKENS else None
        before = self._context.size
        self._context.close()
        try:
            self._open(task.n_ctx)
        except OutOfMemory:
            self._open(before)
            raise
        if state is not None:
            slot = next(iter(self._slots))
            self._slots.bring_back(slot, state)
            slot.chat, slot.kept = source.chat, source.kept
        if self._draft is not None:
            self._draft.widen(task.n_ctx)

    def _keep(self, slot: Slot) -> bool:
        """Ask where a conversation that is about to be forgotten may be kept, and write it there.

        False where it could not be, and so all of it will be read again when it goes on, pictures too.
        """
        if not _is_text(slot):
            return False
        count = len(slot.held.tokens)
        if not slot.chat or count - slot.kept < max(_WORTH_TOKENS, _GROWN * slot.kept):
            return True
        size = self._context.state_size(slot.sequence)
        if self._read_rate and count / self._read_rate < size * _RESTORED_S:
            return True
        self._emit(Leaving(slot.chat, count, size))
        place = self._ask()
        if place is None or not place.path:
            return False
        written = 0
        if (state := self._state(slot)) is not None:
            with suppress(OSError):
                written = states.write(Path(place.path), place.key, self._stamp, state)
        self._emit(Kept(slot.chat, count, written))
        slot.kept = count
        return written > 0

    def _state(self, slot: Slot) -> State | None:
        """What ``slot`` holds; ``None`` where that is more than text, or there is no memory for it."""
        if not _is_text(slot):
            return None
        try:
            return State(text_of(slot.held.tokens), self._context.state(slot.sequence))
        except MemoryError:
            return None

    def _restore(self, task: _Task, slot: Slot) -> None:
        """Bring back what was kept of a conversation, where that is more than the slot has."""
        job = task.job
        try:
            with Reader(Path(job.snapshot), job.snapshot_key, self._stamp) as reader:
                common = common_beginning(reader.tokens, task.tokens)
                if common - len(slot.held.tokens) < _WORTH_TOKENS or len(reader.tokens) > task.places:
                    return
                state = reader.state()
        except Unreadable:
            self._emit(Kept(job.chat, 0, 0))
        except MemoryError:
            return
        else:
            self._slots.bring_back(slot, state)
            slot.kept = len(slot.held.tokens)
            self._slots.cut(slot, common)


def _is_text(slot: Slot) -> bool:
    """Whether it holds neither pictures nor sounds."""
    return len(text_of(slot.held.tokens)) == len(slot.held.tokens)


def _slot_of(task: _Task) -> Slot:
    assert task.slot is not None
    return task.slot


def _messages(job: RunText) -> list[Message]:
    """The conversation, each message with its pictures and sounds."""
    files: list[list[Attachment]] = [[] for _ in job.messages]
    for index, data in job.files:
        files[index].append(Attachment("", "", data))
    return [Message(Role(role), text, tuple(its)) for (role, text), its in zip(job.messages, files, strict=True)]


def _throttled(emit: Callable[[Reply], None]) -> Callable[[float], None]:
    """Report progress only when it has moved visibly."""
    last = -_PROGRESS_STEP

    def report(fraction: float) -> None:
        nonlocal last
        if fraction - last >= _PROGRESS_STEP:
            last = fraction
            emit(Progress(fraction))

    return report


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0
