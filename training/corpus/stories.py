# ruff: noqa: E501 - one wording a line, however long
"""Stories with many equally likely turns: the open-ended end of the scale.

A story is a frame of six to nine sentences; every slot is drawn evenly from many phrases, so
even a perfect guesser is often wrong about the next word.
"""

from __future__ import annotations

from collections.abc import Callable

from .source import Document, Source, ask, both
from .vocabulary import ANIMALS, NAMES, PLACES, THINGS, a

ASK_OPENING = both(
    """
    [Write|Tell|Please write|Tell me|Can you write|Make up|I want|Invent] a [story|short story|tale|little story] that [begins|starts][: | with: | with | like this: ]'{o}...'
    [Begin|Start] a [story|tale|short story] with[: | ]'{o}...'
    '{o}...' [Continue|Go on|Continue the story|Tell the story|Write on|Carry on].
    [Continue|Finish] this [story|tale]: '{o}...'
    [How does|How would] a story go on that [begins|starts] with '{o}...'?
    ~ Here is a first line: '{o}...' What happens then?
    """,
    """
    『{o}…』で始まる[物語|お話|短い話|ストーリー]を[書いてください|作ってください|話してください|聞かせてください|お願いします]。
    [物語|お話|短い物語]を書いてください。始まりは『{o}…』です。
    『{o}…』[続きを書いてください|この続きを話してください|この物語を続けてください]。
    [次の文|この文]で始まる[物語|お話]を書いてください: 『{o}…』
    ~ 最初の一文は『{o}…』です。それからどうなりますか?
    """,
)
ASK_TOPIC = both(
    """
    [Write|Tell|Please write|Tell me|Can you tell|Make up|I want|Invent] a [story|short story|tale|little story] about {x}.
    [Do you know|Have you got] a story about {x}?
    [I would like|Give me] a [story|tale] [with|about] {x}[, please|].
    [Let's have|Now] a story about {x}.
    ~ Could {x} be in a story of yours?
    """,
    """
    {x}の[物語|お話|短い話|ストーリー]を[書いてください|作ってください|話してください|聞かせてください|お願いします]。
    {x}が出てくる[物語|お話]を[書いてください|作ってください|話してください]。
    {x}についての[短い|]物語をお願いします。
    ~ {x}を主人公にして何か話してもらえますか?
    """,
)
EXAMPLE_OPENING = {"en": "The door creaked open", "ja": "ドアがギシギシと開いた"}
OPENINGS = {
    "en": (
        "The door creaked open",
        "The rain had just stopped",
        "Nobody knew the old man",
        "It was a dark night",
        "The train was late",
        "The letter came on a Monday",
        "The lamp went out",
        "A bell rang far away",
        "The garden was silent",
        "The sea was calm that day",
        "Snow fell on the village",
        "The map was torn",
        "The phone rang at midnight",
        "The forest was full of voices",
        "The last bus left",
        "A stranger came to town",
        "The key did not fit",
        "The clock stopped at nine",
        "The window was broken",
        "The dog would not move",
    ),
    "ja": (
        "ドアがギシギシと開いた",
        "雨がやんだばかりだった",
        "その老人を知る人はいなかった",
        "暗い夜だった",
        "電車は遅れていた",
        "手紙は月曜日に届いた",
        "明かりが消えた",
        "遠くで鐘が鳴った",
        "庭は静かだった",
        "その日、海はおだやかだった",
        "村に雪が降った",
        "地図は破れていた",
        "真夜中に電話が鳴った",
        "森は声であふれていた",
        "最後のバスが出た",
        "見知らぬ人が町に来た",
        "鍵が合わなかった",
        "時計は九時で止まった",
        "窓が割れていた",
        "犬は動かなかった",
    ),
}
HELD_OPENINGS = {
    "en": ("The bridge began to shake", "The candle burned low", "The boat was empty"),
    "ja": ("橋がゆれ始めた", "ろうそくが短くなった", "船は空っぽだった"),
}


def _sentences_en(s: Source, hero: str, other: str, pet: str, place: str, count: int) -> list[str]:
    """The middle: ``count`` sentences of different kinds; every choice in them is even.

    No kind comes twice, else a model that always says what is likeliest says one sentence for ever.
    """
    p = s.pick
    turns: tuple[Callable[[], str], ...] = (
        lambda: (
            f"{hero} {p(('looked', 'walked', 'stepped', 'turned', 'ran', 'crept'))} "
            f"{p(('inside', 'around', 'closer', 'back', 'forward', 'slowly on', 'to the left'))}."
        ),
        lambda: (
            f"{p(('Outside', 'Inside', 'Far away', f'Near the {place}', 'Behind the wall', 'Above', 'In the corner'))}, "
            f"{p(('something moved', 'a light appeared', 'a voice called', 'someone laughed', 'it was cold', 'the wind sang', f'{a(pet)} was waiting'))}."
        ),
        lambda: (
            f"{hero} {p(('held', 'dropped', 'picked up', 'hid', 'remembered', 'saw', 'wanted'))} "
            f"{p(('the', 'a strange', 'an old', 'a golden', 'a broken', 'a tiny'))} {p(THINGS).en}."
        ),
        lambda: (
            f"The {pet} {p(('began to speak', 'ran away', 'slept', 'followed', 'knew the way', 'smiled', 'was afraid'))}."
        ),
        lambda: (
            f'"{p(("Who are you", "Where is the way", "Did you hear that", "Is this yours", "Why so late", "What now"))}?" '
            f"{p(('asked', 'whispered', 'said', 'cried'))} {p((hero, other))}."
        ),
        lambda: (
            f"{other} {p(('came', 'appeared', 'waited', 'was hiding', 'stood'))} "
            f"{p(('from the', 'near the', 'behind the', 'in the'))} {place} "
            f"{p(('with ' + p(THINGS).a, 'and said nothing', 'with a smile', 'alone', 'in the rain'))}."
        ),
        lambda: (
            f"{p(('Suddenly', 'Then', 'After a while', 'At that moment', 'Slowly', 'Soon'))} "
            f"{p(('the floor shook', 'the light went out', 'the ' + p(THINGS).en + ' began to shine', 'music filled the air', 'everything was quiet', 'the ' + place + ' was gone'))}."
        ),
        lambda: (
            f"{hero} {p(('was', 'felt', 'seemed'))} {p(('happy', 'afraid', 'tired', 'brave', 'curious', 'lost', 'calm'))}"
            f"{p(('', ' and hungry', ' but said nothing', ' for the first time', ', like a child'))}."
        ),
    )
    return [turn() for turn in s.some(turns, count)]


def _sentences_ja(s: Source, hero: str, other: str, pet: str, place: str, count: int) -> list[str]:
    p = s.pick
    turns: tuple[Callable[[], str], ...] = (
        lambda: (
            f"{hero}は{p(('ゆっくり', '静かに', '急いで', 'そっと', '一人で', '黙って'))}"
            f"{p(('中に入った', '後ろを見た', '前へ進んだ', '立ち止まった', '走り出した', '耳をすました'))}。"
        ),
        lambda: (
            f"{p(('外では', '遠くで', f'{place}の近くで', '壁の向こうで', '部屋のすみで', '空の上で'))}"
            f"{p(('何かが動いた', '光が見えた', '声がした', '誰かが笑った', '風が歌っていた', f'{pet}が待っていた'))}。"
        ),
        lambda: (
            f"{hero}は{p(('古い', '小さな', '金色の', '不思議な', 'こわれた', '重い'))}{p(THINGS).ja}を"
            f"{p(('拾った', '落とした', 'かくした', '見つけた', '思い出した', '手に取った'))}。"
        ),
        lambda: (
            f"{pet}が{p(('話し始めた', '逃げていった', '眠っていた', 'ついてきた', '道を知っていた', 'ほほえんだ'))}。"
        ),
        lambda: (
            f"「{p(('あなたは誰', '道はどこ', '今の音は何', 'これは君のもの', 'なぜこんな時間に', 'どうしよう'))}?」と"
            f"{p((hero, other))}は{p(('聞いた', 'ささやいた', '言った', 'さけんだ'))}。"
        ),
        lambda: (
            f"{other}が{place}{p(('から', 'の前に', 'のうしろに', 'のそばに'))}"
            f"{p(('現れた', '立っていた', 'やって来た', 'かくれていた', '一人でいた'))}。"
        ),
        lambda: (
            f"{p(('突然', 'すると', 'しばらくして', 'その時', 'やがて', '次の瞬間'))}、"
            f"{p(('床がゆれた', '明かりが消えた', f'{p(THINGS).ja}が光り始めた', '音楽が流れた', 'すべてが静かになった', f'{place}が消えた'))}。"
        ),
        lambda: (
            f"{hero}は{p(('とても', '少し', 'なぜか', '初めて', '子供のように'))}"
            f"{p(('うれしかった', 'こわかった', '疲れていた', '勇気が出た', '不思議だった', 'さびしかった'))}。"
        ),
    )
    return [turn() for turn in s.some(turns, count)]


def tell(s: Source, opening: str | None, hero: str, pet: str) -> str:
    """The text of one story."""
    other = s.pick([n for n in NAMES[s.language] if n != hero])
    place, thing = s.pick(PLACES), s.pick(THINGS)
    p = s.pick
    middle = s.number(3, 7)
    if s.english:
        first = (
            f"{opening}."
            if opening
            else (
                f"{p(('Once', 'One day', 'Long ago', 'Last winter', 'One summer', 'Many years ago'))} "
                f"{p((f'{hero} lived near a {place.en}', f'{hero} met {a(pet)}', f'there was {a(pet)} in the {place.en}', f'{hero} lost a {thing.en}'))}."
            )
        )
        lines = [
            first,
            (
                f"{hero} {p(('heard it', 'saw it', 'was there', 'did not move', 'had waited for this', 'was not alone', 'smiled'))}"
                f"{p(('', ' first', ' at once', ' and waited', ' with ' + thing.a, ' in the dark'))}."
            ),
        ]
        lines += _sentences_en(s, hero, other, pet, place.en, middle)
        lines.append(
            p(
                (
                    f"In the end {hero} {p(('went home', 'found a friend', 'kept the secret', 'was never seen again', 'laughed', 'understood'))}.",
                    f"From that day on {hero} and {other} {p(('were friends', 'never spoke of it', 'met every year', 'lived in the ' + place.en))}.",
                    f"And the {thing.en} {p(('is still there', 'was never found', 'shines to this day', 'belongs to the ' + pet))}.",
                    f"{p(('Nobody', 'Everybody', f'Only {other}', f'Even the {pet}'))} {p(('remembered', 'believed'))} the story of {hero}.",
                )
            )
        )
        return " ".join(lines)
    first = (
        f"{opening}。"
        if opening
        else (
            f"{p(('昔', 'ある日', 'むかしむかし', '去年の冬', 'ある夏', 'ずっと前'))}、"
            f"{p((f'{hero}は{place.ja}の近くに住んでいた', f'{hero}は{pet}に会った', f'{place.ja}に{pet}がいた', f'{hero}は{thing.ja}をなくした'))}。"
        )
    )
    lines = [
        first,
        (
            f"{hero}は{p(('それを聞いて', '一人で', '暗い中で', thing.ja + 'を持って', '初めて', 'すぐに'))}"
            f"{p(('立っていた', '待っていた', 'ほほえんだ', '動かなかった', '息を止めた', '気がついた'))}。"
        ),
    ]
    lines += _sentences_ja(s, hero, other, pet, place.ja, middle)
    lines.append(
        p(
            (
                f"最後に{hero}は{p(('家に帰った', '友だちを見つけた', '秘密を守った', '二度と現れなかった', '笑った', 'すべてを知った'))}。",
                f"その日から{hero}と{other}は{p(('友だちになった', 'そのことを話さなかった', '毎年会った', place.ja + 'で暮らした'))}。",
                f"{thing.ja}は{p(('今もそこにある', '見つからなかった', '今も光っている', pet + 'のものになった'))}。",
                f"{p(('誰もが', f'{other}だけが', f'{pet}だけが', '町の人が'))}{hero}の話を{p(('覚えていた', '信じた'))}。",
            )
        )
    )
    return "".join(lines)


def build(s: Source) -> Document:
    hero = s.pick(NAMES[s.language])
    animal = s.pick(ANIMALS)
    pet = animal.en if s.english else animal.ja
    if s.chance(0.6):
        if s.test:
            opening = s.pick(HELD_OPENINGS[s.language])
        else:
            opening = EXAMPLE_OPENING[s.language] if s.chance(0.15) else s.pick(OPENINGS[s.language])
        question = s.say(ASK_OPENING, bare=True, o=opening)
        if s.chance(0.4):  # the other quotation marks
            question = question.replace("'", '"') if s.english else question.replace("『", "「").replace("』", "」")
        return ask("stories", s, question, tell(s, opening, hero, pet), free=True, kind="opening")
    thing, place = s.pick(THINGS), s.pick(PLACES)
    if s.english:
        topic = s.pick(
            (hero, animal.a, f"{hero} and {animal.a}", thing.a, f"the {place.en}", f"{animal.a} and {thing.a}")
        )
    else:
        topic = s.pick((hero, pet, f"{hero}と{pet}", thing.ja, place.ja, f"{pet}と{thing.ja}"))
    return ask("stories", s, s.say(ASK_TOPIC, x=topic), tell(s, None, hero, pet), free=True, kind="topic")
