"""The fine labels of the task classifier, and the task each belongs to."""

from nanolocal.chat.routes import Task

LABELS: dict[str, Task] = {
    "chat/advice": Task.CHAT,
    "chat/commonsense": Task.CHAT,
    "chat/exam": Task.CHAT,
    "chat/expert": Task.CHAT,
    "chat/explain": Task.CHAT,
    "chat/ideas": Task.CHAT,
    "chat/science": Task.CHAT,
    "chat/short_fact": Task.CHAT,
    "chat/smalltalk": Task.CHAT,
    "multilingual/exam": Task.CHAT,
    "code/complete": Task.CODE,
    "code/debug": Task.CODE,
    "code/explain": Task.CODE,
    "code/write": Task.CODE,
    "data/table": Task.DATA,
    "extract/classify": Task.EXTRACT,
    "extract/exam_choice": Task.EXTRACT,
    "extract/fields": Task.EXTRACT,
    "extract/passage": Task.EXTRACT,
    "image_edit": Task.IMAGE_EDIT,
    "image_gen": Task.IMAGE_GEN,
    "math/arithmetic": Task.MATH,
    "math/competition": Task.MATH,
    "math/logic": Task.MATH,
    "math/word_problem": Task.MATH,
    "roleplay/character": Task.ROLEPLAY,
    "summarize": Task.SUMMARIZE,
    "translate": Task.TRANSLATE,
    "writing/constrained": Task.WRITING,
    "writing/essay": Task.WRITING,
    "writing/letter": Task.WRITING,
    "writing/poem": Task.WRITING,
    "writing/rewrite": Task.WRITING,
    "writing/story": Task.WRITING,
}
"""Fine label to task. The order is the order of the weights' columns: a change needs new weights."""

PICTURE_TASKS = (Task.IMAGE_GEN, Task.IMAGE_EDIT)


def subtask_of(label: str) -> str:
    """The fine label where it says more than its task: ``math/logic``; nothing for ``summarize``."""
    return label if "/" in label else ""
