"""Words that people use for each kind of wish, in seven languages, so that a word rare in training still counts."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

_WORDS: dict[str, str] = {
    "code name": """python javascript typescript java kotlin swift rust golang ruby php perl haskell scala lua matlab julia
        bash powershell zsh sql mysql postgres postgresql sqlite mongodb redis react vue angular svelte django flask fastapi
        express node nodejs npm pip yarn docker kubernetes terraform ansible nginx apache linux git github numpy pandas
        matplotlib pytorch tensorflow scikit html css sass tailwind svg json yaml xml regex graphql jquery laravel spring
        gradle maven cmake gcc makefile cron crontab vim unity arduino latex excel vba webpack vite jest pytest cobol""",
    "code thing": """code script function program algorithm class method array string loop variable pointer compile
        compiler debug bug refactor api endpoint query database schema server backend frontend component composable hook
        decorator recursion iterator thread mutex goroutine closure lambda library package module repository commit branch
        merge rebase container config proxy webhook parser tokenizer hashmap dictionary linked stack queue trie binary
        boolean integer float regex regexp oneliner cli terminal shell command probe grep sed awk chmod ssh snippet
        programm skript funktion fehler abfrage fonction requête función consulta programa código codice funzione
        função codigo programma befehl commande comando""",
    "trace": """error exception traceback segfault crash crashes crashed undefined nullpointer stacktrace leaking leak
        overflow deadlock timeout typeerror valueerror keyerror attributeerror syntaxerror fails failing broken exits""",
    "letter": """letter email e-mail mail note message reply invitation invite toast eulogy card memo notice complaint
        resignation apology reminder greeting farewell condolence text sms whatsapp telegram postcard cover recommendation
        brief nachricht bewerbung kündigung einladung lettre courriel courrier invitation carta correo mensaje invitación
        mensagem convite lettera messaggio invito""",
    "essay": """essay article blog post review report op-ed editorial column listing description brochure flyer pitch
        biography bio caption slogan tagline speech abstract proposal newsletter press release advert ad advertisement
        copy outline syllabus thesis paragraph manifesto summary linkedin tweet faq guide itinerary aufsatz artikel
        beitrag rezension produktbeschreibung dissertation rédaction ensayo artículo reseña redação artigo resenha tema
        articolo recensione saggio""",
    "story": """story tale fairytale fable myth legend novel chapter scene plot character protagonist narrator dialogue
        monologue screenplay fiction prose saga thriller spooky geschichte märchen erzählung histoire conte récit
        historia cuento relato história conto fábula storia racconto favola fiaba""",
    "poem": """poem poetry haiku limerick sonnet ode ballad verse rhyme rhyming stanza lyrics song rap shanty villanelle
        acrostic gedicht reim lied poème poésie chanson rime poema verso canción rima canção poesia filastrocca canzone""",
    "rewrite": """rewrite rephrase paraphrase reword proofread correct edit improve polish simplify shorten tidy upgrade
        grammar spelling vocabulary wording formal informal tone clearer concise wordy sentence umformulieren formuliere
        korrigiere verbessere reformule corrige améliore reescribe corrige mejora reescreva corrija melhore riscrivi
        correggi migliora politer neutral fewer natural""",
    "summary": """summarize summarise summary summarization recap recapitulate gist condense tldr tl synopsis abridge
        overview essence nutshell briefly takeaways takeaway highlights digest headline boil main points fasse
        zusammenfassung zusammen zusammengefasst résume résumé resume resumen resumir resuma resumo riassumi riassunto
        sintesi""",
    "translate": """translate translation translator übersetze übersetzung übersetzen traduis traduire traduction traduce
        traducir traducción traduza traduzir tradução traduci traduzione dit-on heißt""",
    "language name": """english german french spanish italian portuguese chinese mandarin japanese korean russian dutch
        polish swedish norwegian danish finnish greek turkish arabic hindi czech hungarian latin hebrew thai vietnamese
        ukrainian romanian englisch deutsch französisch spanisch italienisch portugiesisch chinesisch japanisch polnisch
        anglais allemand français espagnol italien portugais chinois japonais polonais inglés alemán francés español
        italiano portugués chino japonés polaco inglês alemão francês espanhol português chinês japonês polonês inglese
        tedesco francese spagnolo portoghese cinese giapponese polacco brazilian""",
    "picture verb": """draw paint sketch illustrate render depict doodle zeichne zeichnen male malen dessine dessiner
        peins dibuja dibujar pinta desenhe desenha pinte disegna dipingi""",
    "picture": """picture image photo photograph drawing painting illustration sketch portrait logo icon poster wallpaper
        artwork cartoon avatar sticker mural banner emoji collage watercolor watercolour comic meme selfie snapshot bild
        foto zeichnung gemälde croquis dessin peinture affiche imagen dibujo cuadro retrato cartel imagem desenho pintura
        immagine disegno quadro ritratto fotografia""",
    "style": """oil canvas watercolor watercolour acrylic charcoal pastel sepia monochrome cinematic bokeh macro
        photorealistic hyperrealistic realistic surreal vintage cyberpunk steampunk vaporwave isometric vector minimalist
        minimalistic impressionist baroque anime manga pixar ghibli render octane unreal artstation 4k 8k detailed
        intricate moody neon lighting backlit silhouette palette hues texture aesthetic concept fantasy gothic pixel art
        style background aquarell ölgemälde aquarelle huile acuarela óleo aquarela óleo acquerello olio licht lumière luz
        luce farben couleurs colores cores colori""",
    "edit verb": """remove erase replace swap crop brighten darken blur sharpen upscale colorize recolor retouch restore
        enhance resize rotate inpaint outpaint extend photoshop background foreground filter entferne ersetze enlève
        supprime remplace quita borra reemplaza remova troque apague togli rimuovi elimina sostituisci hintergrund sfondo
        fondo fundo arrière-plan""",
    "table": """csv tsv spreadsheet excel sheets table column columns row rows dataset data pivot median mean average
        variance deviation correlation regression histogram chart percentile outlier outliers anomaly anomalies trend
        quartile frequency distribution cell formula vlookup xlookup sum total tabelle durchschnitt mittelwert tableau
        moyenne médiane tabla media mediana tabela média tabella""",
    "classify": """classify classification categorize category categories sentiment label spam positive negative neutral
        toxic sarcastic entailment contradiction hypothesis premise group belongs species identify odd intent genre topic
        mixed polarity klassifiziere positiv negativ classe positif négatif clasifica positiva negativa classifique
        positivo negativo""",
    "passage": """passage text paragraph article document excerpt context below above reference according mentioned
        mentions occur occurs minutes transcript policy extract entities names dates emails phone keywords fields
        extrahiere namen texte passage noms dates texto párrafo nombres fechas extrae nomes datas extraia testo nomi date
        estrai brano""",
    "roleplay": """pretend roleplay role-play role act persona character impersonate play imagine you're master tavern
        ensign captain wizard knight pirate vampire butler rolle spiele tust rôle joue incarne papel actúa finge finja
        aja personagem ruolo fingi personaggio recita""",
    "mathematics": """equation integral derivative polynomial triangle circle radius hypotenuse prime divisor remainder
        matrix determinant eigenvalue vector theorem prove proof lemma modulo congruent logarithm sine cosine tangent
        limit series converge bijection abelian group ring field subset permutations combinations probability coefficient
        roots factor quadratic differentiate integrate lattice altitude perpendicular isosceles parabola vertex gleichung
        ableitung équation dérivée ecuación derivada equação equazione derivata""",
    "arithmetic": """plus minus times divided multiply multiplied subtract percent percentage fraction decimal square root
        convert seconds minutes hours litres liters pounds kilograms grams miles kilometers meters metres notation mal
        geteilt prozent fois divisé veces vezes volte""",
    "word problem": """remain remains left altogether total each per twice half third cost costs sells sold buys bought
        gives shared equally dozen speed litres fence laps shelf boxes bus seats tank empties earns pays change rate how
        many übrig jeweils insgesamt reste chaque coûte quedan cada cuesta sobra custa resta ciascuno costa sitze""",
    "logic": """knight knave knaves liar lies truth premise conclusion conclude certain implies valid invalid argument
        deductively puzzle riddle sequence true false not taller older finished left right facing wug dax options objects
        therefore syllogism seats row last first""",
    "expert": """patient presents diagnosis syndrome mutation pathway receptor enzyme gestation proteinuria tort plaintiff
        defendant estoppel jurisdiction statute liability quantum spin hamiltonian eigenstate perturbation relativistic
        nmr stereoisomer reagent mechanism aldol catalyst equilibrium duration convexity dv01 hedge arbitrage knockout
        gene allele phenotype pharmacokinetics dose mg artery renal hepatic lesion fourier laplacian manifold topology""",
    "greeting": """hi hello hey yo sup thanks thank bye goodbye morning night hallo danke tschüss salut bonjour merci hola
        gracias adiós olá oi obrigado obrigada ciao grazie lol haha ugh cool ok okay""",
    "advice": """should advice tips tip recommend worth safe best better avoid help fix prevent improve prepare choose buy
        learn start stop handle deal tipps conseil consejo dica consiglio""",
    "ideas": """ideas idea suggestions suggest brainstorm list names reasons ways examples recommendations activities
        gifts ideen idées ideas ideias idee""",
    "limits": """exactly lowercase uppercase capitals commas paragraphs bullet asterisks markdown placeholder placeholders
        brackets quotation keyword letters words sentences separated separate mention contain entire least""",
}
_MARKERS: dict[str, str] = {
    "code name": "python|java|sql|html|bash|脚本|スクリプト|プログラム|程序|函数|関数|代码|コード",
    "letter": "信|邮件|メール|手紙|メッセージ|祝福|邀请",
    "story": "故事|物語|お話|小说|昔話|童话",
    "poem": "诗|俳句|詩|歌词",
    "rewrite": "改写|润色|修改|改得|敬語|言い換え|添削|語気",
    "summary": "总结|概括|摘要|要点|要約|まとめ|主要内容",
    "translate": "翻译|译成|译为|怎么说|翻訳|訳し|訳す|にして|で言う|何と言",
    "language name": "英文|英语|日语|法语|德语|中文|韩语|西班牙语|英語|日本語|フランス語|中国語|韓国語|ドイツ語",
    "picture verb": "画一|画个|画张|画幅|绘制|描いて|描く|描いた",
    "picture": "图片|图像|照片|图中|插画|海报|标志|絵|画像|写真|イラスト|ロゴ",
    "style": "油画|水彩|动漫风|高清|赛博朋克|油絵|アニメ風|柔和|柔らかい",
    "edit verb": "背景|去掉|换成|调亮|变成|消して|明るく|白黒|かぶせ",
    "table": "平均|中位数|表格|数据|中央値|表を|データ",
    "classify": "分类|正面|负面|分類|肯定的|否定的",
    "passage": "文中|短文|下面|以下|提取|文章|本文|抜き出",
    "roleplay": "扮演|假装|角色|口吻|なりきって|ふりを|役|口調",
    "word problem": "多少|还剩|一共|几个|いくつ|何個|何人|おつり|残り|何時間|几小时",
    "mathematics": "方程|导数|证明|积分|方程式|微分|積分|証明",
    "advice": "怎么办|怎样|如何|方法|コツ|どうすれば|教えて",
    "ideas": "建议|推荐|点子|アイデア|おすすめ",
}
_FIRST = 7


def kinds_of(text: str, words: Sequence[str]) -> Iterator[str]:
    """The kinds of wish that words of ``text`` speak for: at all, among the first words, and more than once."""
    kinds = _kinds_by_word()
    seen = Counter(kind for word in words for kind in kinds.get(word, ()))
    seen.update(kind for kind, pattern in _patterns().items() if pattern.search(text))
    early = {kind for word in words[:_FIRST] for kind in kinds.get(word, ())}
    yield from sorted(seen)
    yield from (f"first {kind}" for kind in sorted(early))
    yield from (f"much {kind}" for kind, count in sorted(seen.items()) if count > 1)


@cache
def _kinds_by_word() -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, words in _WORDS.items():
        for word in dict.fromkeys(words.split()):
            kinds.setdefault(word, []).append(kind)
    return kinds


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(markers) for kind, markers in _MARKERS.items()}
