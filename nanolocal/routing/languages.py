"""The language of a prompt, by its script and its small words."""

import re

_FUNCTION_WORDS = {
    "en": "the of and to is in what how for with a you me my are that",
    "de": "der die das und ist ein eine wie ich mir zu den dem von auf nicht für mit wer was wird im",
    "fr": "le la les des et est un une que dans pour qui je il du sur avec quelle ce au en mon",
    "es": "el los las y es un una que en por para del se cómo mi qué con cuál al su lo",
    "pt": "o os as e é um uma que em por para do da não se com como qual meu no na ao uns",
    "it": "il lo gli e è un una che di per del della in mi con come non sono quale al nel i",
}
_LANGUAGE_WORDS = {
    word: [name for name, line in _FUNCTION_WORDS.items() if word in line.split()]
    for line in _FUNCTION_WORDS.values()
    for word in line.split()
}


def language_of(text: str) -> str:
    """``en``, ``de``, ``fr``, ``es``, ``pt``, ``it``, ``zh`` or ``ja`` by script and small words; ``""`` if unclear."""
    sample = text[:600].lower()
    if re.search(r"[\u3040-\u30ff]", sample):
        return "ja"
    if re.search(r"[\u4e00-\u9fff]", sample):
        return "zh"
    votes = dict.fromkeys(_FUNCTION_WORDS, 0.0)
    for word in re.findall(r"[^\W\d_]+", sample):
        for name in _LANGUAGE_WORDS.get(word, ()):
            votes[name] += 1 / len(_LANGUAGE_WORDS[word])
    best = max(votes, key=lambda name: votes[name])
    return best if votes[best] > 0 else ""
