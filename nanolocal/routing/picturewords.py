"""Words by which people point at a picture, ask of it, and wish it changed, in nine languages: patterns for ``sight``.

They are matched with lower-case text from its start where they are for ``match``, else searched.
"""

import re


def _words(*parts: str) -> str:
    return "|".join(part.strip().replace(" ", r"\s+") for each in parts for part in each.split(","))


_PICTURES = _words(
    "picture, pic, image, photo, photograph, drawing, painting, sketch, illustration, screenshot",
    "bild, foto, zeichnung, gemälde, skizze, dessin, peinture, imagen, dibujo, cuadro, immagine, disegno, quadro",
    "imagem, desenho, pintura",
)
_THE = _words(
    "the, this, that, your, my, the last, the previous, the first, the new, the old, in, on",
    "das, dem, dein, deinem, mein, dieses, diesem, die, der, dieser, deiner, letzte, im, am, vom, zum, aufs, ins",
    "cette, ce, sur la, la, le, el, esta, este, questa, questo, il, a, o, na, no, da, do, essa, esse",
)
THIS_PICTURE = re.compile(
    rf"\b(?:{_THE})\s+(?:{_PICTURES})\b|\b(?:[ld]'|dell'|nell'|sull')(?:{_PICTURES})\b|[图圖]|照片|画面|写真|絵|画像"
)
A_PICTURE = re.compile(
    rf"\b(?:a|an|another|one|ein|eine|noch ein|un|une|una|um|uma)\s+(?:{_PICTURES})\s+(?:of|von|d[aeoi])"
)

OPENING = re.compile(
    r"(?:(?:and|but|now|ok(?:ay)?|so|then|great|nice|please|pls|can you|could you|would you|will you|"
    r"i want you to|i'd like you to|let's|just|also|maybe|this time|und|jetzt|nun|aber|bitte|kannst du|"
    r"könntest du|dann|et|"
    r"maintenant|peux[- ]tu|mais|y|ahora|puedes|por favor|e|adesso|ora|agora|puoi|pode|você pode)\b[,:!.]?\s+)+"
)
ASKING = re.compile(
    r"(?:(?:what|who|where|how)(?:'s)?|which|whose|when|why|is|are|was|were|do|does|did|can|could|has|have|any|"
    r"welche[rsnm]?|wer|wo|wann|warum|wie|wieso|ist|sind|gibt|hat|siehst|steht|kann|"
    r"que|qu'|quoi|quel(?:le)?s?|qui|où|combien|comment|est-ce|y a-t-il|de quelle|qué|cuál(?:es)?|quién|dónde|"
    r"cuánt[oa]s?|cómo|hay|de qué|che|cosa|quale|qual è|chi|dove|quant[iaeo]|come|c'è|ci sono|di che|o que|"
    r"qual|quem|onde|"
    r"quant[oa]s|como|há|de que)(?![\w'])|[¿?\uff1f]|[吗呢么]|何|いくつ|どこ|誰|だれ|どの|どんな|几|多少|什么|哪"
)
TELLING = re.compile(
    r"(?:describe|caption|transcribe|count|identify|read|beschreib\w*|zähl\w*|lies|décri\w*|compte|describ\w*|cuenta|"
    r"descriv\w*|descrev\w*)\b|描述|形容|数一数|説明"
)
SEEING = re.compile(
    r"\b(?:(?:you|we|one) see|^see (?:the|an?|any)|(?:is|are) (?:visible|shown)|does it show|(?:what(?:'s|s| is|"
    r" are)|who(?:'s| is)) "
    r"(?:in|on) (?:it|there|here|this|that)|siehst|zu sehen|sieht man|darauf|drauf|abgebildet|"
    r"(?:on|tu|vous) (?:vois|voit|voyez)|ves|se ve|vedi|si vede|(?:você )?vê)\b|看到|看见|見え|写っ|映っ"
)
DEICTIC = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|he|she|his|her|there|here|(?:back|fore)ground|"
    r"any(?:one|body|thing)|some(?:one|body)|every(?:one|body)|"
    r"es|das|da|dort|darin|davon|sie|er|jemand|hintergrund|vordergrund|ça|cela|là|ils|elles?|ceci|"
    r"eso|esto|ahí|allí|ellos|ellas|ci|lì|questo|quello|isso|isto|ali|aí|eles|elas)\b"
)
VISUAL = re.compile(
    r"how many|what (?:colou?rs?|animals?|kind|time of day|season|breed|shape)|which (?:colou?rs?|way|"
    r"animals?|season|side)|"
    r"where(?:'s| is| are) the|(?:is|are) there|(?:is|are) the|"
    r"what(?:'s| does| do| is| are| else is| else is in) (?:the|on the|in the|at the)|who is the|"
    r"wie ?viele?|welche (?:farbe|form|jahreszeit)|welches tier|gibt es|(?:ist|sind|hat) (?:der|die|das|ein)|"
    r"wo (?:ist|sind|steht|stehen|liegt) |was (?:macht|tut|trägt|steht)|"
    r"combien|de quelle couleur|y a-t-il|où (?:est|sont)|cuánt[oa]s|de qué color|hay |dónde está|"
    r"quant[ie] |di che colore|c'è |ci sono|dov'è|quant[oa]s |de que cor|onde está|há |"
    r"几[个棵只座]|什么颜色|有没有|何[本個匹人色]|ありますか|いますか"
)
MEASURE = re.compile(
    r"\bhow (?:far|high|tall|old|fast|long|much|heavy|big|deep|wide|hot|cold)\b|\bwie (?:weit|hoch|alt|"
    r"schnell|lang|viel|"
    r"schwer|groß|tief)\b|\b(?:the|what|which|who) (?:most|best|(?!forest|chest|nest|west|rest|guest)\w{2,}est)\b"
)
WORLD = re.compile(
    r"\b(?:i|my|me|we|our|ich|mir|mein\w*|je|mon|yo|io|capital\w*|population|president|invented|wrote|"
    r"discovered|founded|"
    r"definition|meaning of|difference between|hauptstadt|einwohner\w*|präsident\w*|erfand|erfunden|schrieb|capitale|"
    r"préfère|live in|lives? in|(?:in|on|of|with|does|do|can|could) an? |\d+)\b|首都|人口|总统|大統領"
)
REASON = re.compile(r"(?:why|warum|wieso|pourquoi|por qué|perché|por que)\b")
PROPER = re.compile(r"(?<=[a-zé,] )(?!I\b|I')[A-ZÀ-Þ][a-zà-þ]+")
NOUNS_ARE_PLAIN = re.compile(r"\b(?:was|welche[rsnm]?|wer|wo|wie|ist|sind|gibt|der|die|das|und|hat)\b")
"""Words of German questions, in which every noun has a capital."""

FORM = re.compile(
    r"\b(?:poem|haiku|limerick|story|essay|letter|e?mail|article|report|svg|html|css|gedicht|geschichte|"
    r"aufsatz|brief|"
    r"poème|histoire|lettre|poema|historia|carta|poesia|storia|lettera|história)\b"
)
"""What is written, whatever else is said of a picture."""
TEXT_THING = re.compile(
    r"\b(?:lines?|words?|sentences?|paragraphs?|titles?|texts?|verses?|stanzas?|poems?|story|stories|essays?|"
    r"letters?|"
    r"emails?|mails?|lists?|tables?|codes?|functions?|variables?|scripts?|answers?|reply|summary|summaries|articles?|"
    r"sections?|chapters?|examples?|explanations?|recipes?|ending|tone|plan|bullet(?:s| points)?|steps?|"
    r"zeilen?|wörter|wort|sätze|satz|absatz|titel|texte?|gedicht\w*|geschichte\w*|brief|liste|tabelle|antwort|"
    r"beispiele?|"
    r"lignes?|mots?|phrases?|titre|texte|poème|liste|réponse|líneas?|palabras?|frases?|título|texto|poema|"
    r"lista|respuesta|"
    r"righe|riga|parol[ae]|titolo|testo|poesia|elenco|risposta|linhas?|palavras?|resposta)\b"
)
TO_MAKE = re.compile(
    r"(?:(?:make|turn|have|let|keep|set|draw|paint|render|sketch|move|rotate|flip|mirror|tilt|give|shift) "
    r"(?:it|this|that|them|these|those|him|her|everything|all|the|its|his|their|each|both|one of)|"
    r"show (?:it|him|her|them|the)|"
    r"(?:do|redo|repeat|try) (?:it|this|that|the whole thing|again)(?: again)? (?:in|as|with|without|but)|"
    r"(?:stell|häng|leg|setz|pack)\w* (?:noch|ein\w*)|pon(?:le)? (?:un|una|unos|unas)|"
    r"put (?:an?|some|it|him|her|them|[\w ]+ (?:on|in|into|onto|under|behind|beside) (?:it|him|her|them|the))|"
    r"(?:mach\w*|lass\w*|gib|zeichne|male?|dreh\w*|verschieb\w*|verwandle|stell\w*|färbe?) "
    r"(?:es|das|den|die|der|dem|ihn|sie|ihm|ihr|alles|daraus)|"
    r"(?:rends|fais|mets|donne)[- ](?:le|la|les|lui|l'\w+)|(?:haz|pon|convierte) (?:el|la|los|las|lo)|"
    r"(?:rendi|fai|dai|metti) (?:il|la|lo|gli|le|i)|(?:faça|deixe|dê|coloque) (?:o|a|os|as))\b"
)
TO_CHANGE = re.compile(
    r"(?:straighten|soften|smooth(?:en)?|fix|simplify|clean up|cent(?:re|er)|fade|tint|stretch|"
    r"add|remove|delete|erase|replace|swap|crop|blur|brighten|darken|lighten|sharpen|recolou?r|colou?ri[sz]e|"
    r"colou?r|enlarge|extend|fill|cover|get rid of|take (?:away|out)|change|exchange|insert|place|zoom|"
    r"restyle|upscale|"
    r"füge?|entfern\w*|ersetz\w*|tausch\w*|nimm|setze?|änder\w*|lösch\w*|vergrößer\w*|verkleiner\w*|ergänz\w*|"
    r"enlève\w*|ajoute\w*|remplace\w*|supprime\w*|change\w*|transforme\w*|efface\w*|retire\w*|mets|colorie|"
    r"quit[ae]\w*|añad\w*|agreg\w*|cambi\w*|reemplaz\w*|sustituy\w*|elimin\w*|borr\w*|ponle|dale|hazl[oa]|"
    r"togli\w*|aggiung\w*|sostitui\w*|rimuov\w*|elimina\w*|trasforma\w*|fall[oa]|metti|"
    r"tir[ae]|adicion\w*|acrescent\w*|mud[ae]|troque|substitu\w*|remov[ae]|apague|transform\w*|ponha)\b"
    r"|改成|换成|变成|改为|去掉|删除|删掉|移除|加上|添加|加一|加个|调亮|调暗"
    r"|(?:に|を)(?:して|変えて|消して|足して|加えて|追加して|入れて|取って|塗って|置き換えて)|明るく|暗く|消して"
)
FRAGMENT = re.compile(
    r"(?:i'd like (?:it|them|him|her) |(?:[\w ,]+ )?(?:fix|lighten|brighten|darken) it\b|"
    r"at (?:night|dawn|dusk|sunset|sunrise|noon)|by night|in (?:winter|summer|autumn|spring|the (?:rain|"
    r"snow|dark|fog|"
    r"style|desert|morning|evening|night)|black and white|colou?r)|with(?:out)? |the same|same (?:thing|"
    r"picture|scene)?|"
    r"(?:a (?:bit|little) |much |slightly )?(?:more|less|fewer|brighter|darker|bigger|smaller|larger|closer|sharper|"
    r"warmer|cooler|softer|lighter)\b|as an? |from (?:behind|above|below|the side|far)|(?:from )?another angle|"
    r"(?:the|its|his|her|their) [\w ]{2,30} (?:should|must|needs? to|could) be|"
    r"bei (?:nacht|tag|regen|sonnenuntergang)|nachts|im (?:winter|sommer|herbst|frühling|regen|schnee|stil)|"
    r"mit |ohne |"
    r"dasselbe|das gleiche|etwas |heller|dunkler|(?:der|die|das) [\w ]{2,30} (?:soll|muss|sollte)|als |"
    r"von (?:hinten|oben)|"
    r"la nuit|de nuit|en hiver|en été|avec |sans |la même|le même|plus (?:clair|sombre|grand|petit)|"
    r"de noche|en invierno|con |sin |lo mismo|más (?:clar|oscur|grand|pequeñ)\w+|di notte|senza |la stessa|lo stesso|"
    r"à noite|de noite|no inverno|com |sem |o mesmo|a mesma)"
)
ANOTHER = re.compile(
    r"(?:(?:draw |paint |show me |make |do )?(?:another|one more|a new one|a different one)\b|noch ein|"
    r"encore un|otr[oa]\b|"
    r"un altr[oa]|outr[oa]\b|再[画来]|もう一)"
)
TO_DRAW = re.compile(
    r"(?:draw|paint|sketch|illustrate|doodle|zeichne|male?|dessine|dibuja|pinta|disegna|desenhe|desenha|"
    r"pinte)\s+(?:me\s+|mir\s+)?"
    r"(?:an?|another|some|two|three|four|many|ein(?:e|en|em)?|une?|una|um|uma)\b|[画畫]一|を描いて"
)

ONE_SENTENCE = re.compile("[^\\n.:;!?。]*[.!?。\uff1f]*\\s*")
QUESTION_MARKS = ("?", "\uff1f", "か")
PLAIN = frozenset(
    """the and for you are how who why can its his her has was not all any one two der die das dem den und ist wie wer
    los las les des una del que qui con sur par per che sul nel uma com por dos with that this from into over
    under behind what which where there many much have does make draw picture einen eine einem einer eines viele
    welche zeichne bild über unter hinter avec dans sous combien quelle dessine sobre bajo dibuja cuántos
    cuántas sotto sopra disegna quanti quante quantos quantas desenhe embaixo""".split()  # noqa: SIM905
)
"""Words of three letters and more that name nothing in a picture."""
THE_THING = re.compile(
    r"\b(?:the|this|that|his|her|its|der|die|das|dem|den|le|la|les|el|los|las|il|lo|gli|o|os)\s+\w{3,}|"
    r"\bl'\w{3,}"
)
"""A thing that is spoken of as known."""
ASKED_FIRST = re.compile(r"\w{3,}t (?:der|die|das|er|sie|es|dort|da|ein\w*|jemand)\b")
"""German questions begin with any verb."""
FAULT = re.compile(
    r"(?:the|its|his|her|their|there)(?: \w+){1,3} (?:is|are|looks?|seems?) (?:missing|wrong|too|not|off|odd|weird|"
    r"strange|blurry|ugly|cut)\b|[\w ,]+ (?:instead(?: of [\w ]+)?|stattdessen|à la place|en vez de [\w ]+|invece)$|"
    r"(?:der|die|das)(?: \w+){1,3} (?:fehlt|fehlen|ist zu|sind zu|sieht)\b"
)
"""What is wrong with a picture, or what should be there in place of something."""
DRAWN_BY = re.compile(
    r"(?:zeichne|male?|dessine|dibuja|pinta|disegna|desenhe|desenha|pinte)\s+(?:mir\s+)?"
    r"(?:ein(?:e|en|em)?|une?|una|um|uma)\b|[画畫]一|を描いて"
)
"""A wish to draw in words that hardly mean anything else."""
