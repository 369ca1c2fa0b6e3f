"""Days, months, units of measure, spelling and counting."""

from __future__ import annotations

from .source import Document, Source, ask, both
from .vocabulary import ANIMALS, DAYS_EN, DAYS_JA, JOBS, MONTHS_EN, PLACES, THINGS

DAY = both(
    """
    [What|Which] day [is|comes] {n} [days|day] after {x}?
    [If today is|Today is] {x}[, what|. What] day is it in {n} days?
    [It is|Today is] {x}. [Which|What] day [is it|will it be] {n} days [later|from now]?
    [Tell me|Name|Give me] the day {n} days after {x}.
    {n} days after {x} is [what day|which day]?
    Count {n} days from {x}. Which day is it?
    If I wait {n} days from {x}, what day is it?
    We start on {x}. What day is it {n} days later?
    ~ Starting on {x}, wait {n} days. Which day is it then?
    """,
    """
    {x}の{n}日後は何曜日[ですか|でしょうか|]?
    今日が{x}[なら|だと]、{n}日後は何曜日ですか?
    今日は{x}です。{n}日後は何曜日[ですか|でしょうか|になりますか]?
    {x}から{n}日[後|たつと]は何曜日ですか?
    {x}の{n}日後の曜日[を教えてください|は|を答えてください]。
    {x}から{n}日数えると何曜日ですか?
    {x}から{n}日待つと何曜日ですか?
    {x}に始めて{n}日たちました。何曜日ですか?
    ~ {x}に始めて{n}日待つと何曜日になりますか?
    """,
)
NEXT = both(
    """
    [What|Which] {unit} [comes|is] {side} {x}?
    [What|Which] is the {unit} {side} {x}?
    [Tell me|Name|Give me|Say] the {unit} [that comes|] {side} {x}.
    {side_upper} {x} [comes|is] which {unit}?
    In the order of the {unit}s, which is right {side} {x}?
    {x}: which {unit} stands {side} it?
    ~ In the usual order, what {unit} stands right {side} {x}?
    """,
    """
    {x}の{side}の{unit}は[何|いつ|どれ][ですか|でしょうか]?
    {x}の{side}は何{short}[ですか|でしょうか]?
    {x}の{side}に来る{unit}[は何ですか|を教えてください|を答えてください]。
    {x}の{side}[は|を教えてください]。
    {x}のすぐ{side}の{unit}は何ですか?
    順番で{x}の{side}は何ですか?
    ~ 順番で{x}のすぐ{side}は何{short}になりますか?
    """,
)
LENGTH = both(
    """
    How many days [does {x} have|are in {x}|are there in {x}|has {x}]?
    [What is|Tell me] the number of days in {x}[?|.]
    [How long|How many days long] is {x}[?| in days?]
    {x}: how many days?
    Of how many days does {x} consist?
    Count the days in {x}.
    ~ Count the days of {x}.
    """,
    """
    {x}は何日[ありますか|ですか|まで|までありますか]?
    {x}の日数[は|を教えてください|は何日ですか]。
    {x}には何日ありますか?
    {x}は何日間ですか?
    {x}は合わせて何日ですか?
    ~ {x}の日を全部数えると何日ですか?
    """,
)
CONVERT = both(
    """
    How many {v} [are|are in|is|make up|are there in] {n} {u}?
    [Convert|Please convert|Change|Turn] {n} {u} [to|into] {v}[.|]
    [What is|What's|How much is] {n} {u} in {v}?
    {n} {u} [is|are|equals|=] how many {v}?
    [Express|Write|Give] {n} {u} in {v}[.|]
    How much is {n} {u} if the unit is {v}?
    Say in {v}: {n} {u}.
    In {v}, what are {n} {u}?
    ~ Say {n} {u} with {v} as the unit.
    """,
    """
    {n}{u}は何{v}[ですか|でしょうか|になりますか]?
    {n}{u}を{v}に[直してください|変換してください|すると|換算してください|直すと]。
    {n}{u}は{v}で[いくつですか|いくらですか|何になりますか]。
    {n}{u} = 何{v}[ですか|]?
    {n}{u}を{v}の単位で言うと?
    {v}では{n}{u}はどうなりますか?
    ~ {u}で{n}のとき、{v}ではどうなりますか?
    """,
)
SPELL = both(
    """
    [How do you spell|How is|Spell|Please spell|Can you spell|Spell out] [the word|] "{x}"[ spelled|]?
    [Spell|Write] "{x}" letter by letter.
    [What are|Tell me|Give me|List] the letters [of|in] "{x}"[?|.]
    [Split|Break] "{x}" into letters.
    Letter by letter, please: "{x}"
    Write "{x}" with dashes between the letters.
    One letter after another: "{x}"
    ~ One letter after the other, please: "{x}".
    """,
    """
    「{x}」を一文字ずつ[書いてください|言ってください|区切ってください|分けてください]。
    「{x}」の文字を[一つずつ|順に][書いてください|並べてください|教えてください]。
    「{x}」を文字に[分けてください|分けて|分解してください]。
    「{x}」を点で区切って書いてください。
    「{x}」の文字の間に点を入れてください。
    ~ 文字の間に点を入れて「{x}」を書いてください。
    """,
)
COUNT = both(
    """
    How many letters [does "{x}" have|are in "{x}"|has "{x}"|are there in "{x}"]?
    [Count|Please count] the letters [in|of] "{x}"[.|]
    [What is|Tell me] the number of letters in "{x}"[?|.]
    [How long is|What is the length of] the word "{x}"?
    Of how many letters is "{x}" made?
    "{x}" has how many letters?
    ~ "{x}" consists of how many letters?
    """,
    """
    「{x}」は何文字[ですか|でしょうか|ありますか]?
    「{x}」の文字数[は|を教えてください|を数えてください|はいくつですか]。
    「{x}」の文字を数えてください。
    「{x}」には文字がいくつありますか?
    「{x}」は文字がいくつですか?
    「{x}」はいくつの文字ですか?
    ~ 「{x}」はいくつの文字でできていますか?
    """,
)
EDGE = both(
    """
    [What is|Tell me|Which is|Give me] the {e} letter of "{x}"[?|.]
    [Which|What] letter is the {e} [one|] in "{x}"?
    "{x}": [what is|] the {e} letter?
    In "{x}", which letter is {e}?
    Say the {e} letter in the word "{x}".
    ~ Name the letter that stands {e} in "{x}".
    """,
    """
    「{x}」の{e}の文字は[何|どれ][ですか|でしょうか]?
    「{x}」の{e}の文字を[教えてください|答えてください|書いてください]。
    「{x}」で{e}の文字は何ですか?
    「{x}」の{e}は何の文字ですか?
    「{x}」の{e}にある文字を教えてください。
    ~ 「{x}」という言葉の{e}には何の文字がありますか?
    """,
)

MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
UNITS = (  # larger unit (en, ja), smaller unit (en, ja), factor
    ("km", "キロメートル", "m", "メートル", 1000),
    ("kg", "キログラム", "g", "グラム", 1000),
    ("m", "メートル", "cm", "センチメートル", 100),
    ("hours", "時間", "minutes", "分", 60),
    ("minutes", "分", "seconds", "秒", 60),
    ("days", "日", "hours", "時間", 24),
    ("weeks", "週間", "days", "日", 7),
    ("years", "年", "months", "か月", 12),
    ("liters", "リットル", "ml", "ミリリットル", 1000),
    ("cm", "センチメートル", "mm", "ミリメートル", 10),
)
WORDS = {
    "en": sorted({n.en for n in THINGS + ANIMALS + PLACES + JOBS}),
    "ja": sorted({n.ja for n in THINGS + ANIMALS + PLACES + JOBS if len(n.ja) > 1}),
}


def _day(s: Source) -> Document:
    start, n = s.number(0, 6), s.number(1, 6)
    days = DAYS_EN if s.english else DAYS_JA
    end = days[(start + n) % 7]
    if s.english:
        path = ", ".join(days[(start + i) % 7] for i in range(1, n + 1))
        answer = f"{path}: it is {end}."
    else:
        path = "、".join(days[(start + i) % 7] for i in range(1, n + 1))
        answer = f"{path}。{end}です。"
    return ask("calendar", s, s.say(DAY, x=days[start], n=n), answer, kind="day")


def _next(s: Source) -> Document:
    after = s.chance(0.6)
    month = s.chance(0.5)
    if s.english:
        names: tuple[str, ...] = MONTHS_EN if month else DAYS_EN
    else:
        names = tuple(f"{i}月" for i in range(1, 13)) if month else DAYS_JA
    i = s.number(0, len(names) - 1)
    x, y = names[i], names[(i + (1 if after else -1)) % len(names)]
    if s.english:
        side = "after" if after else "before"
        slots: dict[str, object] = {"unit": "month" if month else "day", "side": side, "side_upper": side.title()}
        answer = f"The {slots['unit']} {side} {x} is {y}."
    else:
        side = "次" if after else "前"
        slots = {"unit": "月" if month else "曜日", "short": "月" if month else "曜日", "side": side}
        answer = f"{x}の{side}は{y}です。"
    return ask("calendar", s, s.say(NEXT, bare=False, x=x, **slots), answer, kind="next")


def _length(s: Source) -> Document:
    i = s.number(0, 11)
    if s.english:
        x = MONTHS_EN[i]
        answer = f"{x} has {MONTH_DAYS[i]} days." if i != 1 else f"{x} has 28 days, 29 in a leap year."
    else:
        x = f"{i + 1}月"
        answer = f"{x}は{MONTH_DAYS[i]}日あります。" if i != 1 else f"{x}は28日、うるう年は29日あります。"
    return ask("calendar", s, s.say(LENGTH, x=x), answer, kind="length")


def _convert(s: Source) -> Document:
    big_en, big_ja, small_en, small_ja, factor = s.pick(UNITS)
    n = s.number(1, 9 if factor in (60, 24, 7, 12) else 30)
    big, small = (big_en, small_en) if s.english else (big_ja, small_ja)
    gap = " " if s.english else ""
    if n == 1 and s.english:
        n = 2
    if s.chance(0.3):
        answer = f"{n * factor}{gap}{small} = {n}{gap}{big}"
        return ask("calendar", s, s.say(CONVERT, n=n * factor, u=small, v=big), answer, kind="convert")
    answer = f"{n}{gap}{big} = {n * factor}{gap}{small}"
    return ask("calendar", s, s.say(CONVERT, n=n, u=big, v=small), answer, kind="convert")


def _word(s: Source) -> str:
    while True:
        x = s.pick(WORDS[s.language])
        if s.fits("spell", x):
            return x


def _spell(s: Source) -> Document:
    x = _word(s)
    answer = "-".join(x) if s.english else "・".join(x)
    return ask("calendar", s, s.say(SPELL, bare=True, x=x), answer, kind="spell")


def _count(s: Source) -> Document:
    x = _word(s)
    answer = f"{'-'.join(x)}: {len(x)} letters." if s.english else f"{'・'.join(x)}、{len(x)}文字です。"
    return ask("calendar", s, s.say(COUNT, x=x), answer, kind="count")


def _edge(s: Source) -> Document:
    x, first = _word(s), s.chance(0.5)
    if s.english:
        e = "first" if first else "last"
        answer = f"{'-'.join(x)}: the {e} letter is {x[0] if first else x[-1]}."
    else:
        e = "最初" if first else "最後"
        answer = f"{'・'.join(x)}。{e}の文字は「{x[0] if first else x[-1]}」です。"
    return ask("calendar", s, s.say(EDGE, x=x, e=e), answer, kind="edge")


KINDS = ((_day, 3), (_next, 2), (_length, 2), (_convert, 4), (_spell, 3), (_count, 2), (_edge, 2))


def build(s: Source) -> Document:
    return s.rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0](s)
