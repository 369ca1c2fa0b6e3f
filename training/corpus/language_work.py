"""Translating simple sentences and words, and summarising a short text."""

from __future__ import annotations

from . import sentences
from .source import Document, Source, Turn, both
from .vocabulary import ANIMALS, DAYS_EN, DAYS_JA, JOBS, NAMES, PLACES, THINGS

# Keyed by the language of the question; {l} is the language to translate into.
TRANSLATE = both(
    """
    [Translate|Please translate|Can you translate] [this|the following|this sentence|] [into|to] {l}[:|, please:] {t}
    [What is|What's] this in {l}[?|:] {t}
    [How do you say|How do I say|Say] this in {l}[?|:] {t}
    [Write|Put|Give me] [this|this sentence] in {l}: {t}
    {t} [Translate that|Say that|Write that] [into|in] {l}[.|, please.]
    [In|Into|To] {l}, please: {t}
    ~ I need the {l} version of this: {t}
    """,
    """
    [次の|この][文|文章|言葉]を{l}に[訳してください|翻訳してください|してください|訳して|直してください]: {t}
    {l}に[訳してください|翻訳してください|訳して|翻訳して]: {t}
    {l}で[言うと|言ってください|書いてください|どう言いますか]: {t}
    {t}[これを|この文を]{l}に[訳してください|翻訳してください]。
    [{l}訳|{l}へ翻訳]: {t}
    ~ これの{l}版が必要です: {t}
    """,
)
SUMMARISE = both(
    """
    [Summarize|Please summarize|Can you summarize|Summarise|Sum up|Shorten] [this|the following|this text|the text]: {t}
    [Give me|Write|Make] a [short|one-sentence|brief|] summary [of this|of the following|of this text|]: {t}
    [What is|Tell me] [this about|the main point|the point][?|:] {t}
    [In one sentence|In short|Briefly], what does this say? {t}
    {t} [Summarize that|Sum that up|Give me a summary].
    ~ Too long for me, tell me the essence: {t}
    """,
    """
    [次の|この][文章|文|話|テキスト]を[要約してください|短くしてください|まとめてください|一文にまとめてください|要約して]。{t}
    [次の|この]文章の[要約|まとめ|要点]を[書いてください|作ってください|教えてください]。{t}
    [要約|要約してください|まとめ]: {t}
    [一言で言うと|短く言うと]何ですか? {t}
    {t}[これを要約してください|これをまとめてください]。
    ~ 長いので大事なところだけお願いします。{t}
    """,
)


def _translate(s: Source) -> Document:
    to_japanese = s.chance(0.5)
    while True:
        if s.chance(0.2):
            noun = s.pick(THINGS + ANIMALS + PLACES + JOBS)
            en, ja = noun.en, noun.ja
            if s.test and not s.fits("translate", en):
                continue
            break
        en, ja = sentences.pair(s)
        if s.fits("translate", en):
            break
    text, answer = (en, ja) if to_japanese else (ja, en)
    if s.english:
        name = "Japanese" if to_japanese else "English"
    else:
        name = "日本語" if to_japanese else "英語"
    question = s.say(TRANSLATE, bare=True, l=name, t=text)
    # The answer's language is what counts as the document's.
    return Document(
        "translation",
        "ja" if to_japanese else "en",
        (Turn("user", question), Turn("assistant", answer)),
        kind="translate",
    )


def _summary(s: Source) -> Document:
    while True:
        who, friend = s.some(NAMES[s.language], 2)
        place, thing, other = s.pick(PLACES), s.pick(THINGS), s.pick(THINGS)
        i = s.number(0, 6)
        if s.fits("summary", who, place.en, thing.en):
            break
    p = s.pick
    if s.english:
        what, summary = p(
            (
                (f"There {who} bought {thing.a}", f"{who} bought {thing.a} at the {place.en} on {DAYS_EN[i]}."),
                (f"There {who} lost {thing.a}", f"{who} lost {thing.a} at the {place.en} on {DAYS_EN[i]}."),
                (f"There {who} found {thing.a}", f"{who} found {thing.a} at the {place.en} on {DAYS_EN[i]}."),
                (f"There {who} met {friend}", f"{who} met {friend} at the {place.en} on {DAYS_EN[i]}."),
            )
        )
        first = p((f"On {DAYS_EN[i]}, {who} went to the {place.en}.", f"{who} went to the {place.en} on {DAYS_EN[i]}."))
        fill = [
            p(("The sun was shining.", "It was raining.", "It was very cold.", "The wind was strong.")),
            p(
                (
                    "Many people were there.",
                    "Nobody else was there.",
                    "It was a quiet day.",
                    f"The {other.plural} were very cheap.",
                )
            ),
            p(
                (
                    f"Later {who} drank tea.",
                    f"After that {who} went home.",
                    f"Then {who} was hungry.",
                    f"In the evening {who} read a book.",
                )
            ),
        ]
        chosen = s.some(fill[:2], s.number(1, 2))
        text = " ".join([first, *chosen, what + ".", fill[2]] if p((True, False)) else [first, what + ".", *chosen])
    else:
        what, summary = p(
            (
                (
                    f"そこで{who}は{thing.ja}を買いました。",
                    f"{who}は{DAYS_JA[i]}に{place.ja}で{thing.ja}を買いました。",
                ),
                (
                    f"そこで{who}は{thing.ja}をなくしました。",
                    f"{who}は{DAYS_JA[i]}に{place.ja}で{thing.ja}をなくしました。",
                ),
                (
                    f"そこで{who}は{thing.ja}を見つけました。",
                    f"{who}は{DAYS_JA[i]}に{place.ja}で{thing.ja}を見つけました。",
                ),
                (f"そこで{who}は{friend}に会いました。", f"{who}は{DAYS_JA[i]}に{place.ja}で{friend}に会いました。"),
            )
        )
        first = p((f"{DAYS_JA[i]}に{who}は{place.ja}へ行きました。", f"{who}は{DAYS_JA[i]}、{place.ja}へ行きました。"))
        fill = [
            p(("日が照っていました。", "雨が降っていました。", "とても寒い日でした。", "風が強い日でした。")),
            p(
                (
                    "人がたくさんいました。",
                    "他に誰もいませんでした。",
                    "静かな日でした。",
                    f"{other.ja}がとても安かったです。",
                )
            ),
            p(
                (
                    f"その後{who}はお茶を飲みました。",
                    f"それから{who}は家に帰りました。",
                    f"{who}はおなかがすきました。",
                    f"夜、{who}は本を読みました。",
                )
            ),
        ]
        chosen = s.some(fill[:2], s.number(1, 2))
        text = "".join([first, *chosen, what, fill[2]] if p((True, False)) else [first, what, *chosen])
    question = s.say(SUMMARISE, bare=True, t=text)
    return Document("summary", s.language, (Turn("user", question), Turn("assistant", summary)), kind="summary")


def build(s: Source) -> Document:
    return _translate(s) if s.chance(0.6) else _summary(s)
