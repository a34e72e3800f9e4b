"""How people ask for what the reference knows, and which words never name an entry of it; all match whole prompts."""

import re

_POINTING_WORDS = (
    "this that these those it he she they them him her we us you i me mine yours one here there who what which my "
    "your his its our their someone something anything everything nothing everyone anyone nobody wrong new next "
    "up down good bad better best worse worst happening going on left right missing first last other the a an and "
    "or so then now today tomorrow yesterday again more most less all both each every same different for in at of "
    "to from with about after before yes no not ok okay hello hi hey thanks please word sentence text example "
    "examples"
)
POINTING = frozenset(_POINTING_WORDS.split())
"""No name of an entry alone: they point at the conversation, the day or the speaker."""
PRAISED = re.compile(r"(?:an? |some )?(?:good|great|nice|better|cool|fun|typical|common) [a-z]|some ")
"""Such a thing is asked for as advice or an example."""
LARGE_QUESTIONS = frozenset(("life", "love", "existence", "the universe", "human life", "being"))
"""Whoever asks for their meaning wants no dictionary."""
VAGUE_ABOUT = re.compile(
    r"\b(?:my|your|our|his|her|their|its|this|that|these|those|i|me|you|we|us|he|she|it|they|yourself"
    r"|myself|today|now|here)\b",
    re.IGNORECASE,
)

_NAME = r"(?P<name>[^?!:;\n]+?)"
WORD_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r"(?:define|definition of|meaning of)(?: the (?:word|term))?:? ['\"]?(?P<name>[^'\"?!:;,]+?)['\"]?",
    r"what(?:'s| is) the (?:definition|meaning) of(?: the (?:word|term))? ['\"]?(?P<name>[^'\"?!:;,]+?)['\"]?",
    r"what (?:does|do)(?: the (?:word|term))? ['\"]?(?P<name>[^'\"?!:;,]+?)['\"]? mean",
    r"look up(?: the (?:word|term))? ['\"]?(?P<name>[^'\"?!:;,]+?)['\"]?(?: in (?:the|a) dictionary)",
))  # fmt: skip
SYNONYM_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r"(?:what(?:'s| are| is) )?(?:some |the |a |an |another )?(?:synonyms?|words? (?:with the same meaning"
    r"|that means? the same)|another word) (?:for|of|as) (?:the word )?['\"]?(?P<name>[a-z -]+?)['\"]?",
    r"(?:what(?:'s| is) )?another (?:word|name) for (?:the word )?['\"]?(?P<name>[a-z -]+?)['\"]?",
))  # fmt: skip
THING_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    rf"(?:what|what's)(?: is| are| was| were|(?<=what's)) {_NAME}",
    rf"(?:whats) {_NAME}",
    rf"(?:tell me|give me information|give me some information|talk to me) about {_NAME}",
    rf"(?:look up|explain what|describe what) {_NAME}(?: is| are| means)",
    rf"look up {_NAME}",
))  # fmt: skip
PERSON_FORM = re.compile(rf"(?:who|who's)(?: is| was| are| were|(?<=who's)) {_NAME}", re.IGNORECASE)
PLACE_FORM = re.compile(rf"where (?:is|are) {_NAME}(?: located)?", re.IGNORECASE)

_FACTS = {
    "capital": ("capital", "capital city"),
    "population": ("population",),
    "area": ("area", "size", "surface area", "total area", "land area"),
    "languages": (
        "official language",
        "official languages",
        "language",
        "languages",
        "national language",
        "main language",
    ),
    "government": ("form of government", "government type", "type of government", "system of government"),
    "independence": ("independence day date", "date of independence", "independence date"),
    "national holiday": ("national holiday", "national day"),
    "religions": ("religion", "religions", "main religion", "main religions"),
    "climate": ("climate",),
    "location": ("location",),
}
LONG_FACTS = ("independence", "climate", "location")
LABELS = {name: label for label, names in _FACTS.items() for name in names}
_FACT = "|".join(sorted(LABELS, key=len, reverse=True))
COUNTRY_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    rf"(?:what(?:'s| is| are| was)|whats|name|tell me|which city is|give me)? ?(?:the )?(?P<fact>{_FACT})"
    rf" of (?P<name>[^?!:;,]+?)",
    r"(?:which|what) (?:city|town) is (?:the )?(?P<fact>capital)(?: city)? of (?P<name>[^?!:;,]+?)",
    r"what (?P<fact>languages?|religions?) (?:is|are|do (?:people|they)|does) (?:spoken |speak "
    r"|practi[cs]ed )?(?:in )(?P<name>[^?!:;,]+?)(?: speak)?",
    r"(?:what|which) (?P<fact>languages?) (?:is|are) spoken in (?P<name>[^?!:;,]+?)",
    r"how (?P<fact>big|large) is (?P<name>[^?!:;,]+?)",
    r"how many (?P<fact>people|inhabitants) (?:live in|are in|are there in|does|has) (?P<name>[^?!:;,]+?)(?: have)?",
    r"what(?:'s| is) (?P<name>[^?!:;,]+?)'s? (?P<fact>capital(?: city)?|population|area|official"
    r" languages?|national (?:holiday|day)|climate)",
))  # fmt: skip
OTHER_LABELS = {"big": "area", "large": "area", "people": "population", "inhabitants": "population"}
CAPITAL_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r"(?P<name>[^?!:;,]+?) is the capital(?: city)? of (?:what|which)(?: country)?",
    r"(?:which|what) country(?:'s capital is| has the capital| has as its capital| is the home of the"
    r" capital) (?P<name>[^?!:;,]+?)",
    r"what (?:country )?is (?P<name>[^?!:;,]+?) the capital(?: city)? of",
    r"(?:of )?(?:which|what) country is (?P<name>[^?!:;,]+?) the capital(?: city)?(?: of)?",
))  # fmt: skip
ELEMENT_FACTS = {
    "atomic number": "atomic number", "chemical symbol": "symbol", "symbol": "symbol", "element symbol": "symbol",
    "atomic mass": "atomic mass", "atomic weight": "atomic mass", "melting point": "melting point",
    "boiling point": "boiling point", "discoverer": "discovered by",
}  # fmt: skip
_ELEMENT_FACT = "|".join(sorted(ELEMENT_FACTS, key=len, reverse=True))
ELEMENT_FORMS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    rf"(?:what(?:'s| is)|whats|tell me)? ?(?:the )?(?P<fact>{_ELEMENT_FACT}) (?:of|for) (?:the element )?"
    r"(?P<name>[a-z]+)",
    r"at (?:what|which) temperature does (?P<name>[a-z]+) (?P<fact>melt|boil)",
    r"who (?P<fact>discovered) (?:the element )?(?P<name>[a-z]+)",
))  # fmt: skip
ELEMENT_VERBS = {"melt": "melting point", "boil": "boiling point", "discovered": "discovered by"}
SYMBOL_FORM = re.compile(
    r"(?:which|what) (?:chemical )?element (?:has|is|does)(?: the| represented by)?(?: chemical)?"
    r" (?P<what>symbol|atomic number|number)? ?(?P<name>[a-z]{1,2}|\d{1,3})(?: stand for| represent)?"
    r"|what (?:chemical )?element (?:is|does) (?P<name2>[a-z]{1,2})(?: stand for| represent)?", re.IGNORECASE
)  # fmt: skip
SOMEBODY = re.compile(
    r"\b(?:he|she|his|her|they|their|who|born|died|god|goddess|deity|band|group|duo|character|king|queen"
    r"|emperor|people|tribe|"
    r"president|actor|actress|singer|writer|poet|player|politician|scientist|saint|prophet|members)\b|\([^)]*\d{3,4}",
    re.IGNORECASE,
)
BORN = re.compile(
    rf"(?:when|where|what year|in what year|in which year) (?:was|did) {_NAME} (?P<what>born|die)", re.IGNORECASE
)
