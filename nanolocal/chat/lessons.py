"""What a new answer says about the one before it."""

from nanolocal.chat.messages import Answer, Stopped
from nanolocal.chat.ports import StoredMessage


def lessons(before: StoredMessage | None, answer: Answer, *, is_again: bool, is_switched: bool) -> dict[str, str]:
    """Signals by message id. ``is_again`` says that both answer one prompt, ``is_switched`` that a build was named.

    Whoever names another build for the same kind of task left the old one; whoever only asks again did not like what
    it said. An engine that died says nothing about its build, nor does an answer that is kept nowhere.
    """
    if before is None or answer.message_id is None or before.stopped == Stopped.CRASH:
        return {}
    build = answer.route.build
    if is_switched and before.build_id != build.id and before.task == answer.route.task:
        return {before.id: "left", answer.message_id: "chosen"}
    return {before.id: "regenerated"} if is_again else {}
