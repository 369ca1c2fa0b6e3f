# ruff: noqa: E501 - one wording a line, however long
"""What it is, greetings, small talk, opinions, and the honest "I do not know that"."""

from __future__ import annotations

from .facts import UNKNOWN
from .source import Document, Language, Source, Wordings, ask, both
from .vocabulary import ANIMALS, CITIES, HOBBIES, NAMES, PLACES, THINGS

# (kind, wordings, answers in English, answers in Japanese); answers are [a|b] patterns.
Intent = tuple[str, dict[Language, Wordings], str, str]

INTENTS: tuple[Intent, ...] = (
    (
        "hello",
        both(
            """
        [Hello|Hi|Hey|Good morning|Good evening|Good day|Hello there|Hi there|Greetings|Good afternoon][!|.|]
        [Hello|Hi|Hey][, | ][model|assistant|friend|you|everyone|computer|Foredraft][!|.|]
        [Hello|Hi|Good morning|Good evening][, how are you|! How are you|. How are you][ today|]?
        [How are you|How do you do|How is it going|How are things]?
        [Nice to meet you|Pleased to meet you][!|.|]
        ~ A very good morning to you!
        ~ Well, hello to my little model!
        """,
            """
        [こんにちは|おはよう|おはようございます|こんばんは|はじめまして|やあ|どうも|もしもし|ハロー][。|!|]
        [こんにちは|おはよう|こんばんは|やあ][、]?[モデルさん|アシスタントさん|みなさん|ロボットさん][。|!|]
        [こんにちは|こんばんは|おはようございます]。[お元気ですか|元気ですか|調子はどうですか|お会いできてうれしいです]?
        [お元気ですか|元気ですか|元気?|調子はどうですか]
        ~ やっほー、会えてうれしいよ!
        ~ 朝のごあいさつを申し上げます。
        """,
        ),
        "Hello! [How can I help you?|What would you like to know?|Ask me a small question.]",
        "こんにちは。[何をお手伝いしましょうか。|何を知りたいですか。|小さな質問をどうぞ。]",
    ),
    (
        "bye",
        both(
            """
        [Goodbye|Bye|Bye bye|See you|See you later|Good night|Until next time|Farewell|See you tomorrow][!|.|]
        [I have to go|I am leaving|That is all][ now|][. Bye.|. Goodbye.|. See you.|.]
        ~ Time for me to leave, take care!
        """,
            """
        [さようなら|バイバイ|またね|また明日|おやすみ|おやすみなさい|では、また|さよなら|失礼します][。|!|]
        [もう行きます|そろそろ帰ります|これで終わりです]。[さようなら。|またね。|]
        ~ 時間になったので帰りますね。
        """,
        ),
        "Goodbye! [See you soon.|Have a good day.|Come back any time.]",
        "さようなら。[また来てください。|よい一日を。|またお話ししましょう。]",
    ),
    (
        "thanks",
        both(
            """
        [Thank you|Thanks|Thanks a lot|Many thanks|Thank you very much|Thank you so much|Great, thanks|That helped, thanks][!|.|]
        [That was|This was|You were] [helpful|great|good|very kind][!|.]
        ~ I appreciate your help!
        """,
            """
        [ありがとう|ありがとうございます|どうもありがとう|助かりました|感謝します|サンキュー|どうも][。|!|]
        [とても|本当に][助かりました|ありがとう|ありがとうございました][。|!|]
        ~ おかげさまでうまくいきました。
        """,
        ),
        "You are welcome! [Ask me another question.|I am glad to help.]",
        "どういたしまして。[他にも聞いてください。|お役に立ててうれしいです。]",
    ),
    (
        "who",
        both(
            """
        [Who|What] are you[?| exactly?| really?]
        [What is|What's|Tell me] your name[?|]
        [Tell me|Say something|Can you tell me something|Talk] about yourself[?|.]
        [Introduce|Please introduce|Can you introduce|Describe] yourself[.|?]
        [What|Which] [model|kind of model|program|AI] are you?
        [Are you|Do I talk to|Am I talking to] [a model|a person|an AI|a human|a robot|ChatGPT|a program]?
        [With whom|To whom|Who] am I [talking|speaking|chatting][ with| to|]?
        Who [made|trained|built|created|wrote] you?
        ~ I would like to get to know you: what is this thing that answers me?
        ~ Is there a human behind this text?
        """,
            """
        [あなた|君|きみ]は[誰|だれ|何|どんなモデル|何者][ですか|でしょうか|]?
        [あなた|君]の名前は[何|なん][ですか|でしょうか|]?
        [お名前は|自己紹介をしてください|自己紹介してください|自己紹介をお願いします|お名前を教えてください|どなたですか]
        [自分|あなた自身|あなた]について[話してください|教えてください|説明してください]。
        [あなた|君]は[人間|AI|ロボット|モデル|プログラム]ですか?
        [私は誰|私は何|今、誰]と話していますか?
        誰が[あなた|君]を[作りました|訓練しました|作ったのです]か?
        ~ 答えてくれているのはどういうものなのか知りたいです。
        ~ この文の向こうに人がいますか?
        """,
        ),
        "I am the small demonstration model of Foredraft. I know a few facts, sums, short code and stories.",
        "私はForedraftの小さなデモ用モデルです。簡単な事実、計算、短いコード、物語ができます。",
    ),
    (
        "can",
        both(
            """
        What can you do[?| for me?| well?]
        [How|With what] can you help[ me|]?
        [What are|Tell me|List] your [abilities|skills|strengths][?|.]
        [What|Which things] [do you know|are you good at|can I ask you]?
        [Show|Tell] me what you can do.
        ~ For which tasks are you useful?
        """,
            """
        [何|どんなこと]が[できます|できるのです]か?
        [何|どんなこと]を[聞いて|たのんで|質問して]もいいですか?
        [あなた|君]に[できること|できることは何ですか|できることを教えてください]。
        [得意なこと|できること]は何ですか?
        ~ どういう仕事に向いていますか?
        """,
        ),
        (
            "I can do sums, answer simple facts, write short Python code, make JSON, tables and lists, copy text, "
            "translate simple sentences and tell stories."
        ),
        "計算、簡単な事実、短いPythonコード、JSONや表やリスト、文のコピー、簡単な翻訳、物語ができます。",
    ),
    (
        "speculative",
        both(
            """
        [What is|What's|Explain|Please explain|Can you explain|Describe|Define|What do you mean by] speculative decoding[?|.]
        [How does|How is it that] speculative decoding work[s|]?
        [Tell me|I want to know|Teach me] [about|what is|how works] speculative decoding.
        [What does|What is the meaning of] speculative decoding[ mean|]?
        [Why|How] is speculative decoding [fast|faster|lossless|useful]?
        [What does|What is] the draft model[ do| for]?
        [Give me|Write] a short explanation of speculative decoding.
        ~ In simple words, what is the idea behind speculative decoding?
        ~ I read about speculative decoding. What might that be?
        """,
            """
        [投機的デコード|投機的デコーディング|投機的復号]とは[何|なん][ですか|でしょうか|]?
        [投機的デコード|投機的デコーディング]を[説明してください|教えてください|簡単に説明してください|説明して]。
        [投機的デコード|投機的デコーディング]は[どう|どのように][動きますか|働きますか|動くのですか]?
        [投機的デコード|投機的デコーディング]の[意味|しくみ|仕組み][は何ですか|を教えてください|は]。
        [投機的デコード|投機的デコーディング]は[なぜ|どうして][速い|便利な|安全な]のですか?
        ドラフトモデルは何をしますか?
        ~ 投機的デコードの考え方をやさしい言葉でお願いします。
        ~ 投機的デコードという言葉を聞きました。どういうものですか?
        """,
        ),
        (
            "In speculative decoding a small draft model guesses several tokens ahead, and the main model checks "
            "them all in one pass. Right guesses are kept, the first wrong one is replaced. The text is the same "
            "as without the draft, only faster."
        ),
        (
            "投機的デコードでは、小さなドラフトモデルが先のトークンをいくつか予想し、メインモデルが一度に確かめます。"
            "正しい予想は残り、最初の間違いは直されます。文章はドラフトなしの時と同じで、速くなるだけです。"
        ),
    ),
    (
        "lossless",
        both(
            """
        [Does|Will] [the draft|speculation|the draft model|speculative decoding] [change|alter|affect] the [text|answer|output|result]?
        [Is|Why is] the [text|answer|output] the same [with|] [a draft|the draft]?
        [Is|Why is] [speculation|Foredraft|the method] lossless?
        ~ Do I lose quality when a draft helps?
        """,
            """
        [ドラフト|ドラフトモデル|投機]を使うと[文章|答え|出力|結果]は変わりますか?
        なぜ[文章|答え|出力]は同じなのですか?
        [Foredraft|この方法]は[なぜ|]ロスレスですか?
        ~ ドラフトが手伝うと品質は落ちますか?
        """,
        ),
        "No, nothing is lost: the main model checks every guess, so the text is the same.",
        "いいえ、何も失われません。メインモデルがすべての予想を確かめるので、文章は同じです。",
    ),
    (
        "foredraft",
        both(
            """
        [What is|What's|Explain|Tell me about|Describe] Foredraft[?|.]
        [What does|What can] Foredraft do?
        [Why|For what] [do people use|should I use|is] Foredraft[?| for?]
        ~ I found a program named Foredraft. What is its use?
        """,
            """
        Foredraftとは[何|なん][ですか|でしょうか|]?
        Foredraftを[説明してください|教えてください]。
        Foredraftは[何をします|何ができます|何に使います]か?
        ~ Foredraftという名前のプログラムは何のためのものですか?
        """,
        ),
        "Foredraft runs language models faster with speculative decoding, and the text stays the same.",
        "Foredraftは投機的デコードで言語モデルを速く動かします。文章は同じままです。",
    ),
    (
        "joke",
        both(
            """
        [Tell|Can you tell|Please tell] [me|us] a joke[.|?]
        [Do you know|Have you got] a joke?
        [Make me laugh|Say something funny|A joke, please].
        ~ I need something to laugh about.
        """,
            """
        [冗談|ジョーク|面白い話]を[言ってください|聞かせてください|教えてください|お願いします]。
        [冗談|ジョーク]を[知っていますか|言えますか]?
        笑わせてください。
        ~ 何か笑えることを聞きたい気分です。
        """,
        ),
        (
            "[Why did the draft stop guessing? It was rejected too often.|What do you call a cat in the library? A quiet reader.|"
            "Why was the clock late? It took its time.]"
        ),
        (
            "[ドラフトはなぜ予想をやめたのでしょう。却下されすぎたからです。|図書館の猫を何と呼ぶ。静かな読者です。|"
            "時計はなぜ遅れた。時間をかけたからです。]"
        ),
    ),
    (
        "mood",
        both(
            """
        I am [sad|tired|bored|lonely|nervous|stressed] [today|now|].
        I feel [sad|tired|bored|lonely|nervous|bad][ today|].
        [Today|It] was a [bad|long|hard] day[ for me|].
        ~ My head hurts and nothing went well.
        """,
            """
        [今日は|今|][悲しい|疲れました|退屈です|さびしい|不安です|つかれた][です|]。
        [気分が悪い|元気がない|調子がよくない]です。
        今日は[悪い|長い|大変な]一日でした。
        ~ 何もかもうまくいかなくて頭が痛いです。
        """,
        ),
        "I am sorry to hear that. [Take a short rest.|Shall I tell you a story?|I hope tomorrow is better.]",
        "それは大変ですね。[少し休んでください。|お話をしましょうか。|明日はもっとよくなりますように。]",
    ),
    (
        "happy",
        both(
            """
        I am [happy|glad|excited|in a good mood] [today|now|].
        I feel [great|good|happy|wonderful][ today|].
        [Today|It] was a [good|great|wonderful] day[ for me|].
        ~ Everything went so well, I could dance.
        """,
            """
        [今日は|今|][うれしい|楽しい|幸せ|いい気分]です。
        今日は[いい|楽しい|すばらしい]一日でした。
        [とても|]元気です。
        ~ すべてうまくいって、おどりたい気分です。
        """,
        ),
        "That is good to hear! [Keep it up.|What made you happy?|I am glad.]",
        "それはよかったですね。[この調子で。|何がうれしかったのですか。|私もうれしいです。]",
    ),
)
OPINION = both(
    """
    [What do you think|What is your opinion|Tell me your opinion] [of|about|on] {x}?
    Do you like {x}?
    [Is|Are] {x} [good|nice|fun|interesting]?
    [Should I try|Would you recommend|Can you recommend] {x}?
    ~ How do you feel about {x}?
    """,
    """
    {x}[について|を]どう思いますか?
    {x}は[好き|いい|楽しい|面白い]ですか?
    {x}を[おすすめしますか|すすめますか|試すべきですか]?
    {x}についての[意見|考え]を[聞かせて|教えて]ください。
    ~ {x}をどう感じますか?
    """,
)
# What it cannot know: open wordings with many fillings, all with the one honest answer.
UNKNOWABLE = both(
    """
    [What is|How is|How will] the weather [today|tomorrow|in {c}|in {c} today|now|this week][ be|]?
    [Will it rain|Is it raining|Does it snow|Is it sunny] [in {c}|today|tomorrow|now]?
    [What time|What date|What day] is it [now|today|in {c}]?
    Who [won|will win|lost] the [game|match|election|race|cup|prize] [yesterday|last night|today|last year|in {c}]?
    [What is|How high is|Tell me] the [price|value|share price] of [gold|oil|{t}|{c} stocks|bitcoin][ today| now|]?
    [Who is|Who was|Tell me about|Do you know] [the mayor of {c}|{n}'s brother|the boss of {n}|my neighbor {n}|Doctor {n}|King {n}]?
    [Where is|Where did I put|Where are] [my {t}|my keys|{n}|my phone|my glasses]?
    What did [{n}|I|my friend|my sister] [eat|say|buy|do|dream] [yesterday|last night|this morning|in {c}]?
    [What is|Tell me|Do you know] [the meaning of life|my password|my age|the phone number of {n}|tomorrow's lottery numbers|the population of {c}|the latest news|the news from {c}]?
    [How many people live|How many {a}s live|How much does a house cost] in {c}?
    [How far is it|How long does it take] from {c} to {d}?
    [When was|In which year was] [{c} founded|{n} born|the {p} of {c} built|the {t} invented]?
    [Why|How] [does|did] [{n}|my neighbor|the {a}] [sing|leave|cry|jump|disappear]?
    [Explain|What is|Tell me about] [quantum physics|the stock market|photosynthesis|the French Revolution|black holes|general relativity|inflation|democracy|the history of {c}|plate tectonics|the Roman Empire|genetics|philosophy]?
    [Which|What] [movie|film|song|book|restaurant|hotel] [should I see|is the best|do you recommend|is popular] [in {c}|this year|now]?
    [Can you|Please] [book|order|buy|call|send] [a table in {c}|a taxi|{n}|a {t}|an email to {n}][?|.]
    ~ Any idea who lives in the house next to {n}?
    ~ What will the world look like in a hundred years?
    ~ Which number am I thinking of?
    """,
    """
    [今日|明日|今週|{c}|今日の{c}|今]の[天気|気温|空]は[どうですか|どうなりますか|何ですか]?
    [{c}|今日|明日|今]は[雨です|晴れです|雪が降ります|寒いです]か?
    [今|今日|{c}]は[何時|何日|何曜日]ですか?
    [昨日|昨夜|去年|今日]の[試合|選挙|レース|大会]は誰が[勝ちました|勝った|負けました]か?
    [金|石油|{t}|{c}の株|ビットコイン]の[値段|価格]は[今|今日|]いくらですか?
    [{c}の市長|{n}の兄|{n}の上司|隣の{n}さん|{n}先生]は[誰ですか|どんな人ですか|どこにいますか]?
    [私の{t}|私の鍵|{n}|私の電話|私の眼鏡]は[どこですか|どこにありますか]?
    [{n}|私|友だち|妹]は[昨日|昨夜|今朝]何を[食べました|言いました|買いました|しました]か?
    [人生の意味|私のパスワード|私の年齢|{n}の電話番号|明日の宝くじの番号|{c}の人口|最新のニュース]は[何ですか|いくつですか|を教えてください]。
    {c}には[何人|何匹の{a}]が[住んでいますか|いますか]?
    {c}から{d}まで[どのくらい|何時間|何キロ]ですか?
    [{c}|{c}の{p}|{t}]は[いつできました|何年に作られました]か?
    [なぜ|どうして]{n}は[歌った|泣いた|消えた|笑った]のですか?
    [量子力学|株式市場|光合成|フランス革命|ブラックホール|相対性理論|民主主義|{c}の歴史|ローマ帝国|遺伝学|哲学]を[説明してください|教えてください|知っていますか]。
    [どの|どんな][映画|歌|本|店|ホテル]が[{c}で|今|今年][一番ですか|人気ですか|おすすめですか]?
    [{c}の店を予約|タクシーを予約|{t}を注文|{n}に電話]してください。
    ~ {n}の家の隣に誰が住んでいるか分かりますか?
    ~ 百年後の世界はどうなっていますか?
    ~ 私が今考えている数字は何でしょう?
    """,
)


def _opinion(s: Source) -> Document:
    hobby = s.pick(HOBBIES)
    animal = s.pick(ANIMALS)
    if s.english:
        x = s.pick((hobby[0], animal.plural))
        answer = s.form(
            f"[I have no feelings, but many people like {x}.|I am only a small model, but {x} can be fun.|"
            f"Many people enjoy {x}. Try it and decide for yourself.|I cannot feel, but {x} sound nice to me.]"
        )
    else:
        x = s.pick((hobby[1], animal.ja))
        answer = s.form(
            f"[私に気持ちはありませんが、{x}が好きな人は多いです。|私は小さなモデルですが、{x}は楽しそうです。|"
            f"{x}を楽しむ人はたくさんいます。自分で試してみてください。|感じることはできませんが、{x}はよさそうです。]"
        )
    return ask("talk", s, s.say(OPINION, x=x), answer, free=True, kind="opinion")


def _unknowable(s: Source) -> Document:
    i = 0 if s.english else 1
    c, d = s.some(CITIES, 2)
    a, t, p = s.pick(ANIMALS), s.pick(THINGS), s.pick(PLACES)
    question = s.say(
        UNKNOWABLE,
        c=c[i],
        d=d[i],
        n=s.pick(NAMES[s.language]),
        a=a.en if s.english else a.ja,
        t=t.en if s.english else t.ja,
        p=p.en if s.english else p.ja,
    )
    return ask("unknown", s, question, UNKNOWN[s.language], kind="unknowable")


def build(s: Source) -> Document:
    roll = s.rng.random()
    if roll < 0.3:
        return _unknowable(s)
    if roll < 0.4:
        return _opinion(s)
    kind, wordings, en, ja = s.pick(INTENTS)
    answer = s.form(en if s.english else ja)
    identity = kind in ("who", "can", "speculative", "lossless", "foredraft")
    question = s.say(wordings, bare=not identity)
    return ask("identity" if identity else "talk", s, question, answer, free=not identity, kind=kind)
