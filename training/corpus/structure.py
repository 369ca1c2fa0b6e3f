"""JSON from a sentence, Markdown tables, bullet and numbered lists."""

from __future__ import annotations

import json

from .source import Document, Source, ask, both
from .vocabulary import ANIMALS, CITIES, HOBBIES, JOBS, NAMES, PLACES, THINGS

JSON = both(
    """
    [Turn|Convert|Change|Make|Put] this [sentence|text|] [into|to] JSON: {t}
    [Write|Give|Return|Express] [this|the following|the data] as JSON: {t}
    [Extract|Get] [the data|the facts|the values|the information] as JSON[.|:] {t}
    [Please|Can you|Could you] [turn|convert|put] this [into|to] JSON[?|:] {t}
    {t} [Give me that|Write that|Return that|Put that|I need that] [as|in] JSON[.|, please.]
    [JSON|As JSON|JSON, please|To JSON]: {t}
    [Make|Build|Create|Produce] [a JSON object|JSON|an object in JSON] [from|of|out of]: {t}
    [What is|What would be] the JSON for this[?|:] {t}
    I have a note: {t} [Make it JSON|JSON, please].
    The note says: {t} I need JSON.
    For a machine: turn this into JSON. {t}
    ~ A machine must read this, so use JSON: {t}
    ~ Here is a note: {t} I would like the JSON of it.
    """,
    """
    [次の|この][文|文章|内容]をJSONに[してください|変換してください|直してください|して|変えてください]。{t}
    [JSON|JSON形式|JSONの形]で[書いてください|答えてください|表してください|出してください]。{t}
    [次の|この][文|情報|データ]をJSONで[書いてください|表してください|返してください]: {t}
    {t}[これを|この文を|この内容を]JSONに[してください|変換してください]。
    [JSON|JSONに変換|JSONへ]: {t}
    [次の文|この文]からJSONを[作ってください|作って|作成してください]。{t}
    メモです。{t}JSONにしてください。
    機械で読みます。JSONにしてください。{t}
    ~ 機械が読めるようにJSONにしたいです。{t}
    ~ メモがあります。{t}JSONでください。
    """,
)
TABLE = both(
    """
    [Make|Create|Write|Build|Draw|Give me] a table [from|of|with|out of] this: {t}
    [Make|Create|Write|Build|Draw] a table [from|of|with] [the following|these] [data|values|entries]: {t}
    [Put|Write|Show|Format] this [as|in|into] a [Markdown|] table: {t}
    [Please|Can you|Could you] [make|create|write] a table[?|:] {t}
    [Table|As a table|A table, please]: {t}
    {t} [Make a table of that|Show that as a table|Put that in a table][.|, please.]
    [Turn|Convert|Change] this [into|to] a [Markdown|] table: {t}
    I want a table [of|for] this: {t}
    With rows and columns: {t}
    In table form, please: {t}
    ~ Rows and columns, please: {t}
    ~ I want to see this in table form: {t}
    """,
    """
    [次の|この][内容|データ|情報]を表に[してください|まとめてください|して|直してください]。{t}
    [表|表の形|マークダウンの表]で[書いてください|表してください|見せてください|出してください]。{t}
    [次の|この]データから表を[作ってください|作って|作成してください]。{t}
    {t}[これを|この内容を]表に[してください|まとめてください]。
    [表|表に変換|表にする]: {t}
    表の形にしたいです。{t}
    行と列で[書いて|見せて]ください。{t}
    一覧にしてください。{t}
    ~ 行と列の形で見たいです。{t}
    ~ 一覧表にまとめてほしいです。{t}
    """,
)
LIST = both(
    """
    [Make|Write|Create|Give me|Build] a {kind} list [of|from|with]: {t}.
    [Make|Write|Create|Give me] a {kind} list [of these|with these|from these] [things|items|words]: {t}.
    [Put|Write|Show|Format] [this|these|these items] [as|in|into] a {kind} list: {t}.
    [Please|Can you|Could you] [make|write] a {kind} list[?|:] {t}.
    [Turn|Convert|Change] [this|these words|these items] [into|to] a {kind} list: {t}.
    [List these|List] as a {kind} list: {t}.
    {t}: [make|write] a {kind} list.
    ~ One item a line, as a {kind} list please: {t}.
    ~ Here are my items: {t}. I want a {kind} list.
    """,
    """
    [次の|これらの][もの|言葉|項目]を{kind}に[してください|して|直してください|まとめてください]: {t}
    {kind}を[作ってください|書いてください|作って|作成してください]: {t}
    {t}を{kind}に[してください|まとめてください|して]。
    {kind}で[書いてください|表してください|並べてください|見せてください]: {t}
    [次の|この]内容を{kind}にしてください。{t}
    ~ 一行に一つずつ、{kind}でお願いします。{t}
    ~ 項目は{t}です。{kind}が欲しいです。
    """,
)


def _person(s: Source) -> tuple[str, dict[str, str | int]]:
    name, age = s.pick(NAMES[s.language]), s.number(6, 89)
    city = s.pick(CITIES)[0 if s.english else 1]
    form = s.number(0, 4)
    if s.english:
        hobby, job = s.pick(HOBBIES)[0], s.pick(JOBS)
        if form == 0:
            return (
                s.form(f"{name} is {age} years old and [lives in|comes from] {city}."),
                {"name": name, "age": age, "city": city},
            )
        if form == 1:
            return (
                s.form(f"{name}, {age}, [lives in|is from] {city} and likes {hobby}."),
                {"name": name, "age": age, "city": city, "hobby": hobby},
            )
        if form == 2:
            return (s.form(f"{name} is {job.a} [in|from] {city}."), {"name": name, "job": job.en, "city": city})
        if form == 3:
            return (f"{name} is {age} and works as {job.a}.", {"name": name, "age": age, "job": job.en})
        return f"In {city} lives {name}, who likes {hobby}.", {"name": name, "city": city, "hobby": hobby}
    hobby, work = s.pick(HOBBIES)[1], s.pick(JOBS).ja
    if form == 0:
        return (s.form(f"{name}は{age}歳で、{city}に[住んでいます|います]。"), {"name": name, "age": age, "city": city})
    if form == 1:
        return (
            f"{name}は{age}歳、{city}に住んでいて、趣味は{hobby}です。",
            {"name": name, "age": age, "city": city, "hobby": hobby},
        )
    if form == 2:
        return s.form(f"{name}は{city}の{work}です。"), {"name": name, "job": work, "city": city}
    if form == 3:
        return f"{name}は{age}歳で、仕事は{work}です。", {"name": name, "age": age, "job": work}
    return f"{city}に住む{name}の趣味は{hobby}です。", {"name": name, "city": city, "hobby": hobby}


def _product(s: Source) -> tuple[str, dict[str, str | int]]:
    thing, price, count = s.pick(THINGS), s.number(1, 99) * 5, s.number(2, 40)
    form = s.number(0, 2)
    if s.english:
        if form == 0:
            return (f"{thing.a.capitalize()} costs {price} yen.", {"product": thing.en, "price": price})
        if form == 1:
            return (
                f"We have {count} {thing.plural} at {price} yen each.",
                {"product": thing.en, "price": price, "count": count},
            )
        return f"Order {count} {thing.plural}.", {"product": thing.en, "count": count}
    if form == 0:
        return f"{thing.ja}は{price}円です。", {"product": thing.ja, "price": price}
    if form == 1:
        return (
            f"{thing.ja}が{count}個あり、一つ{price}円です。",
            {"product": thing.ja, "price": price, "count": count},
        )
    return f"{thing.ja}を{count}個注文します。", {"product": thing.ja, "count": count}


def _json(s: Source) -> Document:
    while True:
        if s.chance(0.15):
            pairs = [_person(s), _person(s)]
            text = (" " if s.english else "").join(t for t, _ in pairs)
            value: object = [v for _, v in pairs]
        else:
            text, data = _person(s) if s.chance(0.7) else _product(s)
            value = data
        if s.fits("json", text):
            break
    answer = json.dumps(value, ensure_ascii=False)
    return ask("structure", s, s.say(JSON, bare=s.chance(0.7), t=text), answer, kind="json", check=("json", answer))


def _words(s: Source, count: int) -> list[str]:
    pool = THINGS + ANIMALS + PLACES + JOBS
    return [n.en if s.english else n.ja for n in s.some(pool, count)]


def _table(s: Source) -> Document:
    names = s.number(2, 4)
    while True:
        if s.chance(0.5):
            keys = s.some(NAMES[s.language], names)
            values = [str(s.number(6, 89)) for _ in keys]
            head = ("Name", "Age") if s.english else ("名前", "年齢")
        elif s.chance(0.5):
            keys = s.some(NAMES[s.language], names)
            values = [c[0 if s.english else 1] for c in s.some(CITIES, names)]
            head = ("Name", "City") if s.english else ("名前", "都市")
        else:
            keys = _words(s, names)
            values = [str(s.number(1, 99) * 5) for _ in keys]
            head = ("Item", "Price") if s.english else ("品物", "値段")
        if s.fits("table", *keys, *values):
            break
    if s.chance(0.5):
        entries = [f"{k} {v}" for k, v in zip(keys, values, strict=True)]
    elif s.english:
        entries = [f"{k}: {v}" for k, v in zip(keys, values, strict=True)]
    else:
        entries = [f"{k}は{v}" for k, v in zip(keys, values, strict=True)]
    joined = (", " if s.english else "、").join(entries)
    if s.english:
        text = s.form(f"[{head[0]} and {head[1].lower()}: |]") + joined
        # Without the heading in the question the kind of value decides it.
    else:
        text = s.form(f"[{head[0]}と{head[1]}: |]") + joined
    rows = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    rows += [f"| {k} | {v} |" for k, v in zip(keys, values, strict=True)]
    return ask("structure", s, s.say(TABLE, bare=True, t=text), "\n".join(rows), kind="table")


def _list(s: Source) -> Document:
    while True:
        items = _words(s, s.number(3, 6))
        if s.fits("list", *items):
            break
    numbered = s.chance(0.5)
    if s.english:
        kind = "numbered" if numbered else s.pick(("bullet", "bulleted", "bullet point"))
    else:
        kind = "番号付きリスト" if numbered else s.pick(("箇条書き", "箇条書きのリスト"))
    joined = (", " if s.english else "、").join(items)
    if s.english and s.chance(0.4):
        joined = ", ".join(items[:-1]) + " and " + items[-1]
    lines = [f"{i + 1}. {x}" if numbered else f"- {x}" for i, x in enumerate(items)]
    return ask("structure", s, s.say(LIST, bare=True, t=joined, kind=kind), "\n".join(lines), kind="list")


def build(s: Source) -> Document:
    return s.rng.choices((_json, _table, _list), (3, 5, 4))[0](s)
