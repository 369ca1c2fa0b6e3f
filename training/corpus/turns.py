# ruff: noqa: E501 - one wording a line, however long
"""Conversations: second questions that refer to the first, and system prompts that are obeyed."""

from __future__ import annotations

from . import arithmetic, calendar, facts, stories, structure, talk
from .source import Document, Language, Source, Turn, Wordings, both
from .vocabulary import CITIES, HOBBIES, NAMES

AND = both(
    """
    [And|And what about|What about|How about|Now|And for|Next:|Same for|And the same for|Then|OK, and] {x}[?|]
    [The same|Same question|Same thing|And the same question] [for|about|with] {x}[, please|?|.]
    [Can you also|Please also|Now] [do|tell me|take] {x}[.|?]
    ~ Let us move on to {x}.
    ~ I also wonder about {x}.
    """,
    """
    [では、|じゃあ、|それでは、|次は|今度は|そして|]{x}は[?|どうですか?|どうでしょう?|何ですか?]
    {x}の場合は[?|どうですか?|どうなりますか?]
    {x}も[教えてください|お願いします|知りたいです|聞きたいです]。
    [同じことを|同じ質問を]{x}で[お願いします|してください]。
    ~ {x}についても同じように答えてください。
    ~ 今度は{x}に移りましょう。
    """,
)
MORE = both(
    """
    [Now add|Add|And add|Then add|Please add] {n}[ to that| to it| to the result|.|]
    [Plus|And plus|Now plus] {n}[?|]
    [What is that|What do you get|And if you add|How much is it] [plus|with another] {n}[ more|]?
    Make it {n} [more|larger|greater][.|?]
    And {n} bigger?
    The result [plus|and] {n}[?| more, please.]
    Raise that by {n}.
    What is the result with {n} more?
    ~ Make the result {n} bigger.
    """,
    """
    [それに|その答えに|そこに|では、それに]{n}を[足してください|足すと?|足すといくつですか?|加えてください。]
    [さらに|もう]{n}[足すと|を足すと|加えると]?
    答えを{n}[増やして|大きくして]ください。
    その数に{n}を[足すと|加えると]?
    結果に{n}を足してください。
    その結果より{n}大きい数は?
    ~ その結果を{n}大きくしてください。
    """,
)
NAME_TELL = both(
    """
    [My name is|I am|I'm|Call me|People call me] {x}.
    [Hello|Hi|Hey][,|!] [my name is|I am|I'm|this is] {x}.
    ~ The name is {x}, nice to see you.
    """,
    """
    [私の名前は|私は|僕は|ぼくの名前は]{x}[です|といいます|と申します]。
    [こんにちは|はじめまして]。[私は|僕は|]{x}[です|といいます]。
    ~ みんなは私を{x}と呼びます。
    """,
)
NAME_ASK = both(
    """
    [What is|What's|Tell me|Say|Do you remember|Do you know] my name[?|]
    [Who am I|What am I called|How am I called|Remember my name]?
    Which name [is mine|do I have|did I say]?
    What did I say my name is?
    Which name did I tell you?
    ~ Which name did I give you?
    """,
    """
    [私|僕]の名前は[何|なん][ですか|でしょう|でしたか]?
    [私|僕]の名前を[覚えていますか|言ってください|教えてください]。
    [私|僕]は誰ですか?
    さっきの名前は何でしたか?
    私が言った名前は[何|なん]ですか?
    私は何という名前でしたか?
    ~ さっき言った名前は何だったでしょうか?
    """,
)
LIKE_TELL = both(
    """
    [I like|I love|I enjoy|My hobby is|My favorite thing is] {x}.
    In my free time I [like|love|enjoy] {x}.
    ~ Nothing is better for me than {x}.
    """,
    """
    [私は|僕は|]{x}が[好きです|大好きです|趣味です]。
    [私の|僕の]趣味は{x}です。
    ~ 私には{x}が一番です。
    """,
)
LIKE_ASK = both(
    """
    [What do I like|What is my hobby|What do I enjoy|Do you remember my hobby|Tell me what I like|What did I say I like]?
    Which hobby [do I have|did I tell you|did I say]?
    What did I mention as my hobby?
    What is it that I like?
    ~ Which hobby did I mention?
    """,
    """
    [私|僕]の趣味は[何|なん][ですか|でしたか]?
    [私|僕]は何が好き[ですか|でしたか]?
    私が言った趣味は[何|なん]ですか?
    さっきの趣味は何でしたか?
    話した趣味を[覚えていますか|言ってください]。
    ~ さっき話した趣味は何だったでしょうか?
    """,
)
LIVE_TELL = both(
    "[I live in|I am from|My home is|I come from] {x}.\n~ You will find my house in {x}.",
    "[私は|僕は|]{x}に住んでいます。\n[私|僕]の家は{x}にあります。\n~ 私は{x}の人間です。",
)
LIVE_ASK = both(
    "[Where do I live|Where am I from|Which city do I live in|Do you know where I live|Where is my home|Which city did I say|What city did I tell you|Which city did I mention]?\n"
    "~ Which city did I name?",
    "[私|僕]は[どこに住んでいますか|どこの人ですか]?\n[私|僕]の[家|町]はどこですか?\n私が言った町は[どこ|何]ですか?\nさっきの町はどこでしたか?\n~ さっき言った町はどこだったでしょうか?",
)
REPEAT_ASK = both(
    """
    [Say that again|Repeat that|Can you repeat that|Once more|Again|Please repeat|What did you say|Repeat your answer][, please.|.|?]
    [Sorry|Pardon], [what|what was that|again, please]?
    I did not understand. Again, please.
    I could not hear that. Say it again.
    ~ I did not hear you.
    """,
    """
    [もう一度|もう一回|再度][言ってください|お願いします|書いてください|]。
    [くり返してください|今何と言いましたか|同じことを言ってください]。
    聞こえませんでした。もう一度お願いします。
    もう一度聞きたいです。
    分かりませんでした。もう一度言ってください。
    ~ よく聞こえませんでした。
    """,
)

ONLY = {
    "en": Wordings("""
        [Answer|Reply|Respond|Speak|Write|Always answer|Please answer] [only|] in English[.|, please.]
        [Use English|English only|Your answers are in English|Only English|You speak English].
        ~ Whatever the user writes, English is the language of the reply.
        """),
    "ja": Wordings("""
        [Answer|Reply|Respond|Speak|Write|Always answer|Please answer] [only|] in Japanese[.|, please.]
        [Use Japanese|Japanese only|Only Japanese|You speak Japanese].
        [日本語で|日本語だけで|必ず日本語で|いつも日本語で][答えてください|答える|返事をしてください|話してください]。
        ~ どんな言語で聞かれても日本語を使うこと。
        """),
}
ONLY["en"].lines.append(
    "[英語で|英語だけで|必ず英語で|いつも英語で][答えてください|答える|返事をしてください|話してください]。"
)
BRIEF = both(
    """
    [Be brief|Answer briefly|Keep it short|Short answers only|Be concise|Answer in one word|Give only the answer][.|, please.]
    [Answer|Reply|Respond] [with one word|as shortly as possible|with the answer only|in as few words as possible].
    [You are|You are a] [brief|very brief|short] [assistant|].
    Use [few words|one word|no sentence].
    No long answers[, please|].
    Waste no words.
    ~ Do not waste words on the user.
    """,
    """
    [短く|簡潔に|一言で|答えだけ|できるだけ短く|単語だけで][答えてください|答える|返事をしてください|お願いします]。
    [短い答え|一言の答え]だけにしてください。
    [言葉は少なく|文ではなく単語で]答えてください。
    長い答えは[いりません|要りません]。
    ~ 余計な言葉は使わないこと。
    """,
)
PLAIN = both(
    """
    [You are|Be] [a helpful assistant|a helpful model|helpful|a friendly assistant|kind and helpful|an assistant].
    [Help the user|Answer the questions of the user|Answer well|Answer correctly].
    ~ Do your best for the user.
    """,
    """
    あなたは[親切な|役に立つ|優しい|]アシスタントです。
    [ユーザーを助けてください|質問に答えてください|正しく答えてください]。
    ~ ユーザーのために最善をつくしてください。
    """,
)
PERSONA = both(
    """
    [Your name is|You are called|You are|Your new name is|From now on you are] {x}.
    [You are an assistant|You are a model] [called|named] {x}.
    People call you {x}.
    The users know you as {x}.
    {x} is your name.
    ~ Users know you under the name {x}.
    """,
    """
    あなたの名前は{x}です。
    あなたは{x}[です|という名前です|という名前のアシスタントです]。
    みんなはあなたを{x}と呼びます。
    {x}というのがあなたの名前です。
    ~ ユーザーはあなたを{x}と呼びます。
    """,
)
PERSONA_ASK = both(
    """
    [What is|What's|Tell me] your name[?|]
    [Who are you|How are you called|What are you called]?
    [May I ask your name|Your name, please]?
    [What|Which] name do you have?
    By which name are you known?
    How do people call you?
    What may I call you?
    ~ By what name do you go?
    """,
    """
    [あなた|君]の名前は[何|なん][ですか|でしょうか|]?
    [お名前は|あなたは誰ですか|名前を教えてください|お名前を教えてください]
    何と呼べばいいですか?
    どんな名前ですか?
    みんなは何と呼びますか?
    ~ どう呼べばいいですか?
    """,
)
PERSONAS = {
    "en": ("Robo", "Max", "Luna", "Spark", "Echo", "Nova", "Pixel", "Sunny", "Ada", "Zed", "Milo", "Coco"),
    "ja": ("ロボ", "ルナ", "ソラ", "ハナ", "ヒカリ", "コタロウ", "モモ", "ミミ", "ノバ", "ユキ", "リク", "ココ"),
}


def _chat(
    s: Source, category: str, *texts: str, system: str = "", kind: str = "", language: Language | None = None
) -> Document:
    roles = ("user", "assistant")
    turns = [Turn("system", system)] if system else []
    turns += [Turn(roles[i % 2], text) for i, text in enumerate(texts)]
    return Document(category, language or s.language, tuple(turns), kind=kind)


def _opening_source(s: Source) -> Source:
    """The first question of a chat is an ordinary one; only what follows it is held out."""
    return Source(s.rng, s.language, False)


def _relation_again(s: Source) -> Document:
    while True:  # a small table may hold no combination of this split
        relation = s.pick([r for r in facts.RELATIONS if r.name != "country"])
        one, two = s.some(relation.rows, 2)
        i = 0 if s.english else 2
        if s.fits("again", one[i], two[i]):
            break
    frame = relation.answer[s.language]

    def answer(row: tuple[str, str, str, str]) -> str:
        text = frame.format(x=row[i], y=row[i + 1])
        return text[0].upper() + text[1:]

    first = _opening_source(s).say(relation.wordings, x=one[i])
    return _chat(
        s, "turns", first, answer(one), s.say(AND, bare=True, x=two[i]), answer(two), kind=f"again {relation.name}"
    )


def _country_then(s: Source) -> Document:
    """Another question about the same country: "And its currency?"."""
    tables = {
        r.name: {row[0]: row for row in r.rows}
        for r in facts.RELATIONS
        if r.name in ("capital", "currency", "continent")
    }
    frames = {r.name: r.answer[s.language] for r in facts.RELATIONS}
    wordings = {r.name: r.wordings for r in facts.RELATIONS}
    while True:
        first, second = s.some(sorted(tables), 2)
        country = s.pick(sorted(set(tables[first]) & set(tables[second])))
        if s.fits("then", first, second, country):
            break
    i = 0 if s.english else 2
    one, two = tables[first][country], tables[second][country]
    words = (
        {"capital": "capital", "currency": "currency", "continent": "continent"}
        if s.english
        else {"capital": "首都", "currency": "通貨", "continent": "大陸"}
    )
    x = f"its {words[second]}" if s.english else words[second]
    return _chat(
        s,
        "turns",
        _opening_source(s).say(wordings[first], x=one[i]),
        frames[first].format(x=one[i], y=one[i + 1]),
        s.say(AND, bare=True, x=x),
        frames[second].format(x=two[i], y=two[i + 1]),
        kind="then",
    )


def _sum_again(s: Source) -> Document:
    while True:
        a, b, n = s.number(0, 49), s.number(0, 40), s.number(1, 30)
        if s.fits("more", a + b, n):
            break
    first = _opening_source(s).say(arithmetic.SUM, a=a, b=b)
    return _chat(
        s,
        "turns",
        first,
        arithmetic.sum_steps(a, b),
        s.say(MORE, bare=True, n=n),
        arithmetic.sum_steps(a + b, n),
        kind="more",
    )


def _remember(s: Source) -> Document:
    i = 0 if s.english else 1
    which = s.number(0, 2)
    if which == 0:
        x = s.pick(NAMES[s.language])
        tell, question = NAME_TELL, NAME_ASK
        reply = f"Hello {x}! Nice to meet you." if s.english else f"{x}さん、はじめまして。"
        answer = f"Your name is {x}." if s.english else f"あなたの名前は{x}です。"
    elif which == 1:
        x = s.pick(HOBBIES)[i]
        tell, question = LIKE_TELL, LIKE_ASK
        reply = f"{x.capitalize()} sounds nice." if s.english else f"{x}はいいですね。"
        answer = f"You like {x}." if s.english else f"あなたは{x}が好きです。"
    else:
        x = s.pick(CITIES)[i]
        tell, question = LIVE_TELL, LIVE_ASK
        reply = f"{x} is a nice place." if s.english else f"{x}はいいところですね。"
        answer = f"You live in {x}." if s.english else f"あなたは{x}に住んでいます。"
    texts = [s.say(tell, bare=True, x=x), reply]
    if s.chance(0.5):  # something in between, so that the answer is not always the last turn
        between = _opening_source(s)
        other = s.pick((facts, arithmetic, calendar)).build(between)
        texts += [other.turns[0].text, other.turns[1].text]
    return _chat(s, "turns", *texts, s.say(question, bare=True), answer, kind="remember")


def _again(s: Source) -> Document:
    other = s.pick((facts, arithmetic, calendar, talk, structure)).build(_opening_source(s))
    return _chat(
        s, "turns", other.turns[0].text, other.answer, s.say(REPEAT_ASK, bare=True), other.answer, kind="repeat"
    )


def _in_language(s: Source) -> Document:
    """The system prompt names a language; the question may come in the other one."""
    relation = s.pick(facts.RELATIONS)
    asked: Language = "ja" if s.english else "en"
    if s.chance(0.4):
        asked = s.language
    row = s.pick(relation.rows)
    q, a = (0 if asked == "en" else 2), (0 if s.english else 2)
    question = Source(s.rng, asked, s.test).say(relation.wordings, x=row[q], y=row[q + 1])
    answer = relation.answer[s.language].format(x=row[a], y=row[a + 1])
    answer = answer[0].upper() + answer[1:]
    if s.chance(0.3):
        name_en, name_ja, formula, note_en, note_ja = s.pick(facts.FORMULAS)
        names = name_en if asked == "en" else name_ja
        question = Source(s.rng, asked, s.test).say(facts.FORMULA, x=s.pick(names))
        answer = f"The formula is {formula}. {note_en}" if s.english else f"公式は {formula} です。{note_ja}"
    elif s.chance(0.3):
        intent = s.pick(talk.INTENTS)
        question = Source(s.rng, asked, s.test).say(intent[1], bare=True)
        answer = s.form(intent[2] if s.english else intent[3])
        if "[" in intent[2] and s.test:  # free answers cannot be compared
            return _in_language(s)
    system = ONLY[s.language].draw(s.rng, s.test)
    return _chat(s, "system", question, answer, system=system, kind="language")


def _brief(s: Source) -> Document:
    """Briefly: the bare answer instead of a sentence."""
    system = s.say(BRIEF, bare=True)
    if s.chance(0.25):
        name_en, name_ja, formula, _, _ = s.pick(facts.FORMULAS)
        question = s.say(facts.FORMULA, x=s.pick(name_en if s.english else name_ja))
        return _chat(s, "system", question, formula, system=system, kind="brief")
    relation = s.pick(facts.RELATIONS)
    row = s.pick(relation.rows)
    i = 0 if s.english else 2
    x, y = row[i], row[i + 1]
    bare = x if relation.name == "country" else y
    bare = bare[0].upper() + bare[1:] + ("." if s.english else "。")
    return _chat(s, "system", s.say(relation.wordings, x=x, y=y), bare, system=system, kind="brief")


def _plain(s: Source) -> Document:
    """A system prompt that changes nothing."""
    other = s.pick((facts, arithmetic, calendar, structure)).build(s)
    return _chat(s, "system", other.turns[0].text, other.answer, system=s.say(PLAIN, bare=True), kind="plain")


def _persona(s: Source) -> Document:
    x = s.pick(PERSONAS[s.language])
    answer = f"My name is {x}." if s.english else f"私の名前は{x}です。"
    return _chat(
        s, "system", s.say(PERSONA_ASK, bare=True), answer, system=s.say(PERSONA, bare=True, x=x), kind="persona"
    )


def follow_up(s: Source) -> Document:
    return s.rng.choices((_relation_again, _country_then, _sum_again, _remember, _again), (8, 5, 6, 6, 2))[0](s)


def system(s: Source) -> Document:
    return s.rng.choices((_in_language, _brief, _plain, _persona), (8, 6, 5, 2))[0](s)


def long_chat(s: Source) -> Document:
    """Several unrelated questions in one conversation, as a real chat has them."""
    turns: list[Turn] = []
    last: Document | None = None
    for _ in range(s.number(2, 4)):
        last = s.rng.choices((facts, arithmetic, calendar, talk, structure, stories), (4, 4, 2, 3, 2, 1))[0].build(s)
        turns += last.turns
    assert last is not None
    return Document("long chat", s.language, tuple(turns), free=last.free, check=last.check, kind=last.kind)
