# ruff: noqa: E501 - one wording a line, however long
"""Sums, differences, products, powers, comparisons, small word problems.

Answers show their working ("47 + 38 = 70 + 15 = 85"): every step is then one small fact
(4 + 3, 7 + 8, 7 + 1), which a model of a few million parameters can learn.
"""

from __future__ import annotations

from .source import Document, Source, ask, both
from .vocabulary import NAMES, THINGS

SUM = both(
    """
    [What is|What's|Calculate|Compute|Work out|How much is|Find|Give me|Evaluate] {a} [+|plus] {b}[?|]
    {a} [+|plus] {b}[?| = ?| =| equals what?| is what?|]
    [Add|Please add|Can you add|Sum up] {a} and {b}[.|]
    [What is|Calculate|Find|Tell me|Give me|I need|Work out] the sum of {a} and {b}[?|.|]
    [What do you get|What comes out|What is the result] [if|when] [you|I|we] add {b} to {a}?
    [What is|How much is] the total of {a} and {b}?
    [What do|How much do] {a} and {b} [make|add up to|come to|give] [together|in total|]?
    [I have|Take|Start with] {a} and [add|then add] {b}. [What do I get|What is the result|How much is that]?
    [Do the addition|Addition|Solve|Sum]: {a} + {b}
    [Could you|Can you|Would you|Please] [calculate|compute|work out|tell me] {a} [+|plus] {b}[?|]
    [What number is|Which number is] {a} [+|plus] {b}?
    [What is|How much is] {b} more than {a}?
    [Increase|Raise] {a} by {b}[.|: what is the result?| and tell me the result.]
    {a} [increased|raised] by {b} is what?
    Count {a} and {b} together[.|, please.]
    {a} apples and {b} apples are how many apples?
    What do {a} and {b} come to?
    What is {a} with {b} more?
    ~ Put {a} and {b} together. What does it come to?
    ~ If I increase {a} by {b}, where do I end up?
    ~ Adding {a} and {b} gives which number?
    """,
    """
    {a} [+|足す|たす|プラス] {b} [は|はいくつ|はいくら|は何|の答えは][ですか|でしょうか|になりますか|]?
    {a}[に|と]{b}を[足す|たす|加える]と[いくつ|いくら|何|どう][ですか|になりますか|でしょうか]?
    {a}と{b}の[和|合計|足し算の答え][は|はいくつですか|はいくらですか|を教えてください|を求めてください|を計算してください]。
    {a} + {b} を[計算して|計算してください|解いてください|求めてください|教えてください|お願いします]。
    {a}と{b}を[足してください|足して|合計してください|加えてください|合わせてください]。
    [計算|足し算|問題|計算問題|次の計算]: {a} + {b}
    {a} + {b} [=|= ?|は?|の結果は?]
    {a}と{b}[を合わせると|を足し合わせると|の合計は|で合計]いくつ[ですか|になりますか]?
    {a}より{b}[大きい|多い][数|数字]は[何|いくつ]ですか?
    [次の足し算をしてください|この足し算を解いてください|足し算をお願いします]。{a} + {b}
    {a}に{b}を[加算|プラス]すると[いくつですか|どうなりますか]?
    {a}が{b}[増える|ふえる]といくつですか?
    {a}円と{b}円で[全部で|合計]いくらですか?
    {a}と{b}をまとめるといくつになりますか?
    {a}に{b}を足した数[は何ですか|を言ってください]。
    ~ {a}に{b}を加算した結果を知りたいです。
    ~ {a}個と{b}個、全部でいくつになる?
    ~ 足し算の{a} + {b} はどんな数になりますか?
    """,
)

DIFFERENCE = both(
    """
    [What is|What's|Calculate|Compute|Work out|How much is|Find|Give me|Evaluate] {a} [-|minus] {b}[?|]
    {a} [-|minus] {b}[?| = ?| =| equals what?| is what?|]
    [Subtract|Please subtract|Can you subtract|Take|Take away] {b} from {a}[.|]
    [What is|Calculate|Find|Tell me|Give me|Work out] the difference [between|of] {a} and {b}[?|.|]
    [What do you get|What comes out|What is the result] [if|when] [you|I|we] [subtract|take] {b} from {a}?
    [What is|How much is] left [if|when] [I|you] take {b} [from|away from] {a}?
    [I have|Take|Start with] {a} and [subtract|take away|remove] {b}. [What do I get|What is left|How much is that]?
    [Do the subtraction|Subtraction|Solve|Difference]: {a} - {b}
    [Could you|Can you|Would you|Please] [calculate|compute|work out|tell me] {a} [-|minus] {b}[?|]
    [What number is|Which number is] {a} [-|minus] {b}?
    [What is|How much is] {b} less than {a}?
    [Decrease|Reduce] {a} by {b}[.|: what is it?| and tell me the result.]
    {a} [decreased|reduced|lowered] by {b} is what?
    How much [bigger|larger|greater|more] is {a} than {b}?
    By how much does {a} exceed {b}?
    What remains of {a} without {b}?
    {a} apples, {b} of them gone: how many [remain|are left]?
    What is the gap between {a} and {b}?
    ~ Lower {a} by {b}. What remains?
    ~ By how much is {a} greater than {b}?
    ~ Removing {b} from {a} leaves which number?
    """,
    """
    {a} [-|引く|ひく|マイナス] {b} [は|はいくつ|はいくら|は何|の答えは][ですか|でしょうか|になりますか|]?
    {a}から{b}を[引く|ひく|取る]と[いくつ|いくら|何|どう][ですか|になりますか|でしょうか]?
    {a}と{b}の[差|違い|引き算の答え][は|はいくつですか|はいくらですか|を教えてください|を求めてください|を計算してください]。
    {a} - {b} を[計算して|計算してください|解いてください|求めてください|教えてください|お願いします]。
    {a}から{b}を[引いてください|引いて|取ってください]。
    [計算|引き算|問題|計算問題|次の計算]: {a} - {b}
    {a} - {b} [=|= ?|は?|の結果は?]
    {a}から{b}を[取ると残りは|引いたら残りは|引いた残りは]いくつ[ですか|になりますか]?
    {a}より{b}[小さい|少ない][数|数字]は[何|いくつ]ですか?
    [次の引き算をしてください|この引き算を解いてください|引き算をお願いします]。{a} - {b}
    {a}を{b}[減らす|へらす]と[いくつ|何]ですか?
    {a}は{b}より[いくつ|どのくらい|どれくらい]大きいですか?
    {a}と{b}はいくつ違いますか?
    {a}から{b}が減ると[いくつですか|どうなりますか]?
    {a}から{b}を引いた数[は何ですか|を言ってください]。
    ~ {a}から{b}を減らした結果を知りたいです。
    ~ {a}は{b}よりどれだけ大きいですか?
    ~ 引き算の{a} - {b} はどんな数になりますか?
    """,
)

PRODUCT = both(
    """
    [What is|What's|Calculate|Compute|Work out|How much is|Find|Give me] {a} [×|*|times|x|multiplied by] {b}[?|]
    {a} [×|*|times|x] {b}[?| = ?| =| equals what?|]
    [Multiply|Please multiply|Can you multiply] {a} [and|by|with] {b}[.|]
    [What is|Calculate|Find|Tell me|Work out] the product of {a} and {b}[?|.|]
    [What do you get|What is the result] [if|when] [you|I|we] multiply {a} [by|with] {b}?
    [Do the multiplication|Multiplication|Solve|Product]: {a} [×|*] {b}
    [Could you|Can you|Please] [calculate|compute|work out|tell me] {a} [×|times] {b}[?|]
    [What number is|Which number is] {a} [×|times] {b}?
    {a} [boxes|rows|bags] [of|with] {b} [each|things each]: how many [in all|in total|together]?
    How many are {a} [groups|sets] of {b} [together|in all]?
    What is {a} [multiplied with|multiplied by] {b}?
    What do {a} groups with {b} in each [make|give]?
    ~ {a} groups of {b} make how many?
    ~ Multiplying {a} with {b} gives which number?
    """,
    """
    {a} [×|*|かける|掛ける] {b} [は|はいくつ|はいくら|は何|の答えは][ですか|でしょうか|になりますか|]?
    {a}に{b}を[かける|掛ける]と[いくつ|いくら|何][ですか|になりますか|でしょうか]?
    {a}と{b}の[積|かけ算の答え|掛け算の答え][は|はいくつですか|を教えてください|を求めてください|を計算してください]。
    {a} [×|*] {b} を[計算して|計算してください|解いてください|求めてください|教えてください]。
    {a}と{b}を[かけてください|掛けてください|かけて]。
    [計算|かけ算|掛け算|問題|次の計算]: {a} × {b}
    {a} × {b} [=|= ?|は?|の結果は?]
    {a}の{b}倍は[いくつ|いくら|何][ですか|になりますか]?
    {b}個入りの箱が{a}箱あります。全部で何個ですか?
    {a}と{b}を掛けた[数|答え|結果]は何ですか?
    {a}個ずつ{b}人に配ると全部で何個ですか?
    {a}を{b}倍するといくつですか?
    ~ {a}と{b}を掛け合わせた結果を知りたいです。
    ~ かけ算の{a} × {b} はどんな数になりますか?
    """,
)

QUOTIENT = both(
    """
    [What is|What's|Calculate|Compute|How much is|Find] {a} [/|÷|divided by] {b}[?|]
    {a} [/|÷|divided by] {b}[?| = ?| =|]
    [Divide|Please divide|Can you divide] {a} by {b}[.|]
    [What do you get|What is the result] [if|when] [you|I|we] divide {a} by {b}?
    [Do the division|Division|Solve]: {a} [/|÷] {b}
    [Share|Split|Distribute] {a} [things|items|apples] among {b} [people|children]. How many does each get?
    How many times does {b} go into {a}?
    [Break|Cut] {a} into {b} equal [groups|pieces]. [How big is one?|How many are in one?]
    {a} shared by {b} is what?
    ~ Split {a} into {b} equal parts. How big is each?
    """,
    """
    {a} [÷|/|割る|わる] {b} [は|はいくつ|は何|の答えは][ですか|でしょうか|になりますか|]?
    {a}を{b}で[割る|わる]と[いくつ|いくら|何][ですか|になりますか|でしょうか]?
    {a} ÷ {b} を[計算して|計算してください|解いてください|求めてください]。
    {a}を{b}で[割ってください|割って]。
    [計算|割り算|わり算|問題]: {a} ÷ {b}
    {a}個を{b}人で分けると一人何個ですか?
    {a}を{b}つに等しく分けるといくつずつですか?
    {a}の中に{b}はいくつありますか?
    {a}を{b}で割った[数|答え]は何ですか?
    ~ {a}を{b}等分するといくつずつになりますか?
    """,
)

POWER = both(
    """
    [What is|What's|Calculate|Compute|How much is|Find] {a} to the power of {b}[?|]
    [What is|Calculate|Compute|Find|] {a}^{b}[?|]
    [What is|Calculate|Find] {a} raised to [the power|] {b}[?|]
    [What is|Calculate|Find] the {b}th power of {a}[?|.]
    [Raise|Please raise] {a} to the power [of|] {b}.
    What do {b} factors of {a} make?
    Use {a} as a factor {b} times.
    What is {a} multiplied by itself, with {b} factors?
    {a} with the exponent {b} is what?
    ~ Work out {a} multiplied by itself, {b} factors in all.
    """,
    """
    {a}の{b}乗は[いくつ|いくら|何][ですか|になりますか|でしょうか]?
    {a}の{b}乗を[計算して|計算してください|求めてください|教えてください]。
    {a}^{b} [は|はいくつですか|を計算してください|=]
    [計算|累乗]: {a}^{b}
    {a}を{b}乗すると[いくつ|いくら|何]ですか?
    {a}を{b}個掛けた数は何ですか?
    {a}を{b}回かけると[いくつ|何]ですか?
    {a}の{b}乗の答えを言ってください。
    ~ {a}を{b}回掛け合わせた数は何ですか?
    """,
)

COMPARE = both(
    """
    [Which is|Which number is|Which one is|What is] {larger}[, | : |: ]{a} or {b}?
    Is {a} or {b} {larger}?
    [Compare|Please compare] {a} and {b}. Which [is|one is|number is] {larger}?
    [Tell me|Say] which [is|number is] {larger}: {a} or {b}[.|]
    [Of|Between] {a} and {b}, which [is|one is] {larger}?
    [Find|Give me|Pick] the {larger} [number|one]: {a}, {b}[.|]
    Which of the two is {larger}, {a} or {b}?
    Look at {a} and {b}. Which is the {larger} number?
    [Name|Say] the {larger} one of {a} and {b}.
    Of the two numbers {a} and {b}, name the {larger} one.
    ~ Take {a} and {b}: name the {larger} of the two.
    """,
    """
    {a}と{b}では[どちら|どっち]が{larger}ですか?
    {a}と{b}、[どちら|どっち|どちらの数]が{larger}[ですか|でしょうか|]?
    {a}と{b}を比べてください。[どちら|どっち]が{larger}ですか?
    {larger}のは{a}と{b}の[どちら|どっち][ですか|でしょうか]?
    {a}と{b}のうち、{larger}[方|ほう|数]は[どちら|どれ|何]ですか?
    {larger}[方|数]を[選んでください|答えてください|教えてください]: {a}、{b}
    {a}と{b}の二つ[の数|]で、{larger}のはどちらですか?
    {a}と{b}を見てください。{larger}方は[どちらですか]?
    {a}と{b}の{larger}方を言ってください。
    ~ {a}と{b}の二つを見て、{larger}数を言ってください。
    """,
)

PARITY = both(
    """
    Is {a} [even|odd|even or odd|an even number|an odd number|odd or even]?
    [Is|Tell me whether|Say whether|Check whether] the number {a} [is|] [even or odd|odd or even][?|.]
    [What is|Which is] {a}, [even or odd|odd or even]?
    Tell me if {a} is [even|odd|even or odd].
    Does {a} count as [even or odd|odd or even]?
    Even or odd: {a}?
    ~ The number {a}: does it count as even or as odd?
    """,
    """
    {a}は[偶数|奇数|偶数か奇数か|偶数ですか、奇数][ですか|でしょうか]?
    {a}が[偶数か奇数か|奇数か偶数か][教えてください|答えてください|言ってください|調べてください]。
    数字の{a}は[偶数|奇数][ですか|でしょうか]?
    {a}は[偶数と奇数のどちら|奇数と偶数のどちら]ですか?
    {a}は偶数に入りますか、奇数に入りますか?
    ~ {a}という数は偶数と奇数のどちらに入りますか?
    """,
)

GAIN = both(
    """
    {name} has {a} {thing}[.| and] [{he} [buys|gets|finds|receives] {b} more|Then {name} gets {b} more]. How many {thing} does {name} have [now|in total|]?
    {name} [had|has] {a} {thing} and [got|found|bought] {b} more. How many are [there|that] [now|in total|]?
    There are {a} {thing} on the table. {name} adds {b}. How many are there [now|in total]?
    {name} [counted|collected|picked] {a} {thing} [first|in the morning] and {b} [later|in the evening]. How many [in all|are that]?
    At first there were {a} {thing}. {b} more [came|arrived]. How many are there now?
    {name} gets {b} {thing} and had {a} before. What is the number now?
    ~ First {name} counted {a} {thing}, later another {b} arrived. What is the new count?
    """,
    """
    {name}は{thing}を{a}個持っています。[{b}個もらいました|{b}個買いました|さらに{b}個見つけました]。[全部で|今、]何個[ありますか|ですか|持っていますか]?
    机の上に{thing}が{a}個あります。{name}が{b}個[置きました|足しました]。[全部で|今、]何個[ありますか|ですか]?
    {thing}が{a}個あって、あとから{b}個[来ました|届きました|ふえました]。合わせて何個ですか?
    {name}の{thing}は{a}個でしたが、{b}個ふえました。いくつですか?
    ~ 最初に{thing}が{a}個あり、あとで{b}個ふえました。{name}の数はいくつになりましたか?
    """,
)

LOSS = both(
    """
    {name} has {a} {thing}[.| and] [{name} [eats|loses|sells|gives away] {b}|Then {b} are lost]. How many {thing} [does {name} have left|are left|remain]?
    {name} [had|has] {a} {thing} and [lost|sold|gave away] {b}. How many are [left|there now]?
    There are {a} {thing} on the table. {name} takes {b} away. How many are left?
    Of {a} {thing}, {name} [used|broke|ate|gave away] {b}. How many are left?
    {name} used {b} of {a} {thing}. How many remain?
    At first there were {a} {thing}. {b} are gone. How many are there now?
    From {a} {thing} {name} took {b}. How many are left?
    ~ From {a} {thing} {name} used up {b}. What is the new count?
    """,
    """
    {name}は{thing}を{a}個持っています。[{b}個あげました|{b}個なくしました|{b}個売りました]。[残りは|今、]何個[ありますか|ですか]?
    机の上に{thing}が{a}個あります。{name}が{b}個[取りました|持っていきました]。[残りは|今、]何個[ありますか|ですか]?
    {thing}が{a}個あります。{name}が{b}個[使う|食べる|あげる]と残りは何個ですか?
    {a}個の{thing}から{b}個[使いました|なくなりました]。いくつ残りますか?
    {name}の{thing}は{a}個でしたが、{b}個使いました。残りはいくつですか?
    ~ {thing}が{a}個ありましたが、{name}が{b}個使いました。いくつになりましたか?
    """,
)


def sum_steps(a: int, b: int) -> str:
    """a + b with tens and ones apart: every step is one small fact."""
    if a < 10 and b < 10:
        return f"{a} + {b} = {a + b}"
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    return f"{a} + {b} = {tens} + {ones} = {a + b}"


def difference_steps(a: int, b: int) -> str:
    """a - b, tens first."""
    if b < 10:
        return f"{a} - {b} = {a - b}"
    return f"{a} - {b} = {a - b // 10 * 10} - {b % 10} = {a - b}"


def product_steps(a: int, b: int) -> str:
    """a × b for one digit, or two digits times one, split at the tens."""
    if a < 10 and b < 10:
        return f"{a} × {b} = {a * b}"
    if a < 10:
        a, b = b, a
    return f"{a} × {b} = {a // 10 * 10 * b} + {a % 10 * b} = {a * b}"


def _sum(s: Source) -> Document:
    while True:
        a, b = s.number(0, 99), s.number(0, 99)
        if s.chance(0.25):
            a, b = s.number(0, 9), s.number(0, 20)
        if s.fits("+", a, b):
            return ask("sums", s, s.say(SUM, a=a, b=b), sum_steps(a, b), kind="sum")


def _difference(s: Source) -> Document:
    while True:
        a, b = s.number(0, 99), s.number(0, 99)
        if s.chance(0.25):
            a, b = s.number(0, 20), s.number(0, 9)
        if a >= b and s.fits("-", a, b):
            return ask("sums", s, s.say(DIFFERENCE, a=a, b=b), difference_steps(a, b), kind="difference")


def _product(s: Source) -> Document:
    # One-digit products are facts: all of them are trained, only their wordings are held out.
    a, b = s.number(0, 9), s.number(0, 9)
    return ask("sums", s, s.say(PRODUCT, a=a, b=b), product_steps(a, b), kind="product")


def _long_product(s: Source) -> Document:
    while True:
        a, b = s.number(11, 99), s.number(2, 9)
        if s.fits("*", a, b):
            return ask("sums", s, s.say(PRODUCT, a=a, b=b), product_steps(a, b), kind="long product")


def _quotient(s: Source) -> Document:
    b, c = s.number(1, 9), s.number(1, 9)
    return ask("sums", s, s.say(QUOTIENT, a=b * c, b=b), f"{b * c} / {b} = {c}", kind="quotient")


def _power(s: Source) -> Document:
    a, b = s.pick([(n, 2) for n in range(1, 21)] + [(2, n) for n in range(3, 11)] + [(n, 3) for n in range(3, 11)])
    if b == 2 and s.chance(0.5):
        squared = f"What is {a} squared?" if s.english else f"{a}の二乗は何ですか?"
        question = s.say(POWER, a=a, b=b) if s.test else squared
    else:
        question = s.say(POWER, a=a, b=b)
    return ask("sums", s, question, f"{a}^{b} = {a**b}", kind="power")


def _compare(s: Source) -> Document:
    while True:
        a, b = s.number(0, 99), s.number(0, 99)
        if s.chance(0.3):
            a, b = s.number(100, 999), s.number(100, 999)
        if a != b and s.fits("<", a, b):
            break
    up = s.chance(0.6)
    win, lose = (max(a, b), min(a, b)) if up else (min(a, b), max(a, b))
    if s.english:
        word = s.pick(("larger", "bigger", "greater") if up else ("smaller", "lower"))
        answer = f"{win} is {word} than {lose}."
    else:
        word = "大きい" if up else "小さい"
        answer = f"{win}は{lose}より{word}です。"
    return ask("sums", s, s.say(COMPARE, a=a, b=b, larger=word), answer, kind="compare")


def _parity(s: Source) -> Document:
    while True:
        a = s.number(0, 999)
        if s.fits("parity", a):
            break
    even = a % 2 == 0
    if s.english:
        answer = f"{a} ends in {a % 10}, so it is {'even' if even else 'odd'}."
    else:
        answer = f"{a}の最後の数字は{a % 10}なので、{'偶数' if even else '奇数'}です。"
    return ask("sums", s, s.say(PARITY, a=a), answer, kind="parity")


def _problem(s: Source) -> Document:
    gain = s.chance(0.5)
    while True:
        a, b = s.number(2, 60), s.number(1, 40)
        if (gain or a >= b) and s.fits("problem", a, b):
            break
    name, thing = s.pick(NAMES[s.language]), s.pick(THINGS)
    word = thing.plural if s.english else thing.ja
    question = s.say(GAIN if gain else LOSS, a=a, b=b, name=name, thing=word, he=name)
    steps = sum_steps(a, b) if gain else difference_steps(a, b)
    result = a + b if gain else a - b
    if s.english:
        answer = f"{steps}. {name} has {result} {word}." if gain else f"{steps}. {result} {word} are left."
    else:
        answer = f"{steps}。{word}は{result}個です。" if gain else f"{steps}。残りは{result}個です。"
    return ask("sums", s, question, answer, kind="problem")


KINDS = (
    (_sum, 24),
    (_difference, 30),
    (_product, 20),
    (_long_product, 4),
    (_quotient, 5),
    (_power, 6),
    (_compare, 6),
    (_parity, 3),
    (_problem, 6),
)


def build(s: Source) -> Document:
    return s.rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0](s)
