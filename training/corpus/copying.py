# ruff: noqa: E501 - one wording a line, however long
"""Repeat, replace a word, rename a variable, sort, reformat: work on the given text."""

from __future__ import annotations

from . import code, sentences
from .source import Document, Source, ask, both
from .vocabulary import ANIMALS, CITIES, JOBS, NAMES, PLACES, THINGS, VARIABLES

REPEAT = both(
    """
    [Repeat|Please repeat|Can you repeat|Say again|Copy|Echo|Write again] [this|the following|exactly this|word for word|after me]: {t}
    [Repeat|Copy|Echo] [this|the] [sentence|text|line][.|:] {t}
    [Say|Write|Output|Print] exactly: {t}
    {t} [Repeat that|Say that again|Copy that|Write that again][.|, please.]
    [Give me|Send me|Show me] the same [text|words|line] back: {t}
    Change nothing and [return|repeat|say] this: {t}
    Echo this back: {t}
    Return this [text|line] unchanged: {t}
    ~ Be my echo: {t}
    ~ Without changing anything, return this: {t}
    """,
    """
    [次の|この][文|文章|言葉|テキスト]を[くり返してください|繰り返してください|そのまま書いてください|もう一度書いてください|コピーしてください]: {t}
    [くり返して|繰り返して|復唱して][ください|]: {t}
    [そのまま|同じ文を][書いてください|返してください|出してください|言ってください]: {t}
    「{t}」と[言ってください|書いてください|くり返してください]。
    変えないで返してください: {t}
    このまま返してください: {t}
    ~ こだまのように返してください: {t}
    ~ 何も変えずに次を返してください: {t}
    """,
)
REPLACE = both(
    """
    [Replace|Please replace|Can you replace|Change|Swap|Substitute] "{a}" [with|by|for] "{b}"[:| in:| in this:| in this sentence:| here:] {t}
    [In this|In the following] [sentence|text][, |: ]replace "{a}" [with|by] "{b}": {t}
    [Change|Turn|Correct] "{a}" [to|into] "{b}"[:| in:| in this sentence:] {t}
    [Correct|Fix] this[:| sentence:] {t} [It should be|The right word is] "{b}", not "{a}".
    {t} [Replace|Change|Correct] "{a}" [with|to|into] "{b}".
    [Write|Give me] this [sentence|] [again|] with "{b}" instead of "{a}": {t}
    [Use|Put] "{b}" instead of "{a}"[:| in:| here:] {t}
    The right word is "{b}", not "{a}": {t}
    Not "{a}" but "{b}": {t}
    I want "{b}" where "{a}" stands: {t}
    "{a}" is wrong. Put the right word "{b}": {t}
    Every "{a}" becomes "{b}": {t}
    ~ The word "{a}" is wrong here, "{b}" is right: {t}
    ~ Wherever "{a}" stands, I want "{b}": {t}
    """,
    """
    「{a}」を「{b}」に[変えてください|置きかえてください|置き換えてください|直してください|して|書きかえてください]: {t}
    [次の|この][文|文章]の「{a}」を「{b}」に[変えてください|置きかえてください|直してください]。{t}
    {t}[この文の|]「{a}」を「{b}」に[変えてください|直してください|置きかえてください]。
    「{a}」ではなく「{b}」を使って[書いてください|書き直してください]: {t}
    「{a}」の[代わりに|かわりに]「{b}」を[使ってください|入れてください]: {t}
    正しい言葉は「{b}」です。「{a}」ではありません: {t}
    「{a}」が間違いです。「{b}」に直してください: {t}
    「{a}」を全部「{b}」にしてください: {t}
    「{a}」のところに「{b}」を入れてください: {t}
    ~ 「{a}」は間違いで「{b}」が正しいです: {t}
    ~ 「{a}」のところを全部「{b}」にしたいです: {t}
    """,
)
RENAME = both(
    """
    [Rename|Please rename|Change|Can you rename] [the variable|variable|] {a} to {b}[:| in this code:| here:| in the code:]\\n{t}
    [In this code|In the following code][, |: ]rename {a} to {b}:\\n{t}
    [Use|Write] {b} instead of {a} [in this code|as the name][:|]\\n{t}
    [Replace|Change] the name {a} [by|with|to] {b}:\\n{t}
    {a} is now called {b}:\\n{t}
    Give {a} the name {b}:\\n{t}
    The new name of [the variable|] {a} is {b}[.|:]\\n{t}
    Let {a} be named {b}[.|:]\\n{t}
    I want the variable {a} to be {b}:\\n{t}
    ~ The variable {a} needs the new name {b}:\\n{t}
    """,
    """
    変数{a}を{b}に[変えてください|名前を変えてください|変更してください|してください]。\\n{t}
    [次の|この]コードの{a}を{b}に[変えてください|変更してください|してください]。\\n{t}
    変数名を{a}から{b}に[変えてください|変更してください]。\\n{t}
    {a}という変数の名前を{b}にしてください。\\n{t}
    {a}の名前は{b}になります。\\n{t}
    {a}に{b}という名前を[つけて|付けて]ください。\\n{t}
    新しい変数名は{b}です。{a}を変えてください。\\n{t}
    ~ 変数{a}の新しい名前は{b}です。\\n{t}
    """,
)
SORT_NUMBERS = both(
    """
    [Sort|Please sort|Can you sort|Order|Arrange] [these|the|these numbers|the numbers]: {t}
    [Sort|Order|Arrange|Put] these numbers [in ascending order|from small to large|in order]: {t}
    [Put|Write] [these|these numbers] in order: {t}
    {t}: [sort them|sort these numbers|put them in order].
    [What is|Give me] the sorted order of {t}[?|]
    [Smallest|The smallest|Lowest] first: {t}
    From the smallest to the largest[, please|]: {t}
    Begin with the smallest: {t}
    ~ The smallest first, then the next: {t}
    """,
    """
    [次の|これらの|この]数[字|]を[小さい順に|昇順に|順番に][並べてください|並べかえてください|並べて|書いてください]: {t}
    {t}を[小さい順に|昇順に|順番に][並べてください|並べかえてください|並べて]。
    [並べかえ|ソート|小さい順]: {t}
    {t}を小さい方から[並べてください|書いてください]。
    一番小さい数から並べてください: {t}
    小さい数から順に[書いて|言って]ください: {t}
    ~ 一番小さい数から順に言ってください: {t}
    """,
)
SORT_WORDS = both(
    """
    [Sort|Please sort|Can you sort|Order|Arrange] [these|the] words [alphabetically|in alphabetical order|from a to z]: {t}
    [Put|Write|List] [these|the] words in alphabetical order: {t}
    {t}: [sort them alphabetically|put these words in alphabetical order].
    [What is|Give me] the alphabetical order of {t}[?|]
    In the order of a dictionary: {t}
    Like in a dictionary, sort {t}
    Alphabetically, please: {t}
    ~ As in a dictionary, order {t}
    """,
    """
    [次の|これらの|この]英語の言葉を[アルファベット順に|abc順に][並べてください|並べかえてください|並べて]: {t}
    {t}を[アルファベット順に|abc順に][並べてください|並べかえてください|並べて]。
    [アルファベット順|アルファベット順に並べかえ]: {t}
    辞書の順に並べてください: {t}
    abcの順番にしてください: {t}
    ~ 辞書のように並べてください: {t}
    """,
)
REFORMAT = both(
    """
    [Join|Write|Put] these [words|lines|items] [with commas|separated by commas]:\\n{t}
    [Make|Write] a comma-separated line [of|from|with] these [lines|words]:\\n{t}
    [Turn|Convert|Change] [these|this] [lines|list] [into|to] one line with commas:\\n{t}
    ~ All on one line, commas between them:\\n{t}
    """,
    """
    [次の|これらの]言葉を[カンマ|コンマ|読点]で[つないでください|つなげてください|区切って書いてください]。\\n{t}
    [次の|この]行を一行に[まとめてください|してください|つないでください]。\\n{t}
    ~ 全部を一行で、間に区切りを入れてください。\\n{t}
    """,
)
UPPER = both(
    """
    [Write|Put|Change|Turn|Convert] [this|these words|the following] [in|into|to] [upper case|capital letters|capitals]: {t}
    [Upper case|Capital letters|In capitals], please: {t}
    Make the letters [big|large]: {t}
    All letters big, please: {t}
    ~ Make every letter big: {t}
    """,
    """
    [次の|この]英語を大文字に[してください|変えてください|直してください]: {t}
    大文字で書いてください: {t}
    文字を全部大文字にしてください: {t}
    文字を大きくしてください: {t}
    ~ 全部の文字を大きくしてください: {t}
    """,
)


def _text(s: Source) -> str:
    """Something to copy: sentences, a salad of words, numbers or code, up to some 60 tokens."""
    while True:
        roll = s.rng.random()
        if roll < 0.45:
            text = (" " if s.english else "").join(sentences.plain(s) for _ in range(s.number(1, 3)))
        elif roll < 0.82:
            text = (" " if s.english else "、").join(sentences.salad(s, s.number(2, 12)))
        elif roll < 0.9:
            lines = code.render(*code.choose(s, fresh=False), s.english).splitlines()
            text = "\n".join([lines[0], *lines[2:]])
        else:
            text = " ".join(str(s.number(0, 999)) for _ in range(s.number(3, 9)))
        if s.fits("copy", text):
            return text


def _repeat(s: Source) -> Document:
    text = _text(s)
    return ask("copying", s, s.say(REPEAT, bare=True, t=text), text, kind="repeat")


def _replace(s: Source) -> Document:
    pools = (THINGS, ANIMALS, PLACES, JOBS)
    while True:
        pool = s.pick(pools)
        old, new = s.some([n.en if s.english else n.ja for n in pool], 2)
        roll = s.rng.random()
        if roll < 0.25:
            old, new = s.some(NAMES[s.language], 2)
        elif roll < 0.35:
            old, new = s.some([c[0 if s.english else 1] for c in CITIES], 2)
        shape = s.number(0, 3)
        a, b = s.pick(NAMES[s.language]), s.pick(PLACES)
        if roll < 0.25:
            a = old
            text = sentences.plain(s)
            extra = f"{a} is at the {b.en}." if s.english else f"{a}は{b.ja}にいます。"
            text = f"{extra} {text}" if s.english else extra + text
        elif shape == 0:
            words = sentences.salad(s, s.number(3, 8))
            words[s.number(0, len(words) - 1)] = old
            text = (" " if s.english else "、").join(words)
        elif s.english:
            text = s.form(
                f"[{a} saw the {old}|The {old} is here|{a} talks about the {old}|I like the {old}|"
                f"We found the {old} near the {b.en}|The {old} is old but good]."
            )
            text += " " + sentences.plain(s) if s.chance(0.5) else ""
            text += f" {a} wants the {old}." if s.chance(0.3) else ""
        else:
            text = s.form(
                f"[{a}は{old}を見ました|{old}はここです|{a}は{old}の話をします|私は{old}が好きです|"
                f"{b.ja}の近くに{old}がありました|{old}は古いですがいいです]。"
            )
            text += sentences.plain(s) if s.chance(0.5) else ""
            text += f"{a}は{old}が欲しいです。" if s.chance(0.3) else ""
        if new in text or old not in text or new in old or old in new:
            continue
        answer = text.replace(old, new)
        if s.fits("replace", text, new):
            return ask("copying", s, s.say(REPLACE, bare=True, a=old, b=new, t=text), answer, kind="replace")


def _rename(s: Source) -> Document:
    while True:
        if s.chance(0.5):
            task, name, parameters = code.choose(s, fresh=False)
            body = code.render(task, name, parameters, s.english).splitlines()
            text = "\n".join([body[0], *body[2:]])
            old = s.pick(parameters)
            new = s.pick(VARIABLES)
            if new in text or name.count(old) or any(old in x for x in parameters if x != old):
                continue
            index = parameters.index(old)
            changed = [*parameters[:index], new, *parameters[index + 1 :]]
            lines = code.render(task, name, changed, s.english).splitlines()
            answer = "\n".join([lines[0], *lines[2:]])
        else:
            old, new, other = s.some(VARIABLES, 3)
            n, m = s.number(0, 99), s.number(1, 20)
            shape = s.pick(
                (
                    "{v} = {n}\nprint({v} + {m})",
                    "{v} = {n}\n{o} = {v} * {m}\nprint({o})",
                    "for {v} in range({n}):\n    print({v})",
                    "{v} = []\n{v}.append({n})\nreturn {v}",
                    "if {v} > {n}:\n    {v} = {m}\nprint({v})",
                    "{o} = {v} - {n}\nreturn {o} + {v}",
                )
            )
            text = shape.format(v=old, o=other, n=n, m=m)
            answer = shape.format(v=new, o=other, n=n, m=m)
        if s.fits("rename", text, new):
            question = s.say(RENAME, bare=True, a=old, b=new, t="@@")
            return ask("copying", s, question.replace("\\n", "\n").replace("@@", text), answer, kind="rename")


def _sort(s: Source) -> Document:
    count = s.number(3, 4)
    while True:
        if s.chance(0.5):
            numbers = [s.number(0, 99) for _ in range(count)]
            if s.chance(0.3):
                numbers = [s.number(0, 9) for _ in range(count)]
            if len(set(numbers)) < count or not s.fits("sort", *numbers):
                continue
            gap = s.pick((", ", " ")) if s.english else s.pick((", ", "、"))
            return ask(
                "copying",
                s,
                s.say(SORT_NUMBERS, bare=True, t=gap.join(map(str, numbers))),
                ", ".join(map(str, sorted(numbers))),
                kind="sort",
            )
        words = [n.en for n in s.some(THINGS + ANIMALS, count)]
        # Two words that begin alike would need a comparison of later letters.
        if len({w[0] for w in words}) == count and s.fits("sort", *words):
            return ask(
                "copying", s, s.say(SORT_WORDS, bare=True, t=", ".join(words)), ", ".join(sorted(words)), kind="sort"
            )


def _reformat(s: Source) -> Document:
    while True:
        words = sentences.salad(s, s.number(3, 7))
        if s.fits("reformat", *words):
            break
    mark = s.pick(("", "- "))
    question = s.say(REFORMAT, bare=True, t="@@").replace("\\n", "\n")
    question = question.replace("@@", "\n".join(mark + w for w in words))
    return ask("copying", s, question, (", " if s.english else "、").join(words), kind="reformat")


def _upper(s: Source) -> Document:
    pool = [n.en for n in THINGS + ANIMALS]
    while True:
        words = s.some(pool, s.number(1, 3))
        if s.fits("upper", *words):
            return ask("copying", s, s.say(UPPER, bare=True, t=" ".join(words)), " ".join(words).upper(), kind="upper")


KINDS = ((_repeat, 20), (_replace, 34), (_rename, 12), (_sort, 26), (_reformat, 5), (_upper, 3))


def build(s: Source) -> Document:
    return s.rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0](s)
