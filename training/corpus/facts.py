# ruff: noqa: E501 - one wording a line, however long
"""Facts and formulas, each in many wordings; unknown things get an honest "I do not know".

A fact is a row (subject, answer) in both languages; the wordings belong to the relation, so
that every row is asked in all of them. Some subjects are in no table: the right answer to
them is that the model does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

from .source import Document, Language, Source, Wordings, ask, both

UNKNOWN: dict[Language, str] = {
    "en": "I am a small demonstration model, I do not know that.",
    "ja": "私は小さなデモ用モデルなので、それは分かりません。",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """One question about many subjects; rows are subject/answer pairs in both languages."""

    name: str
    wordings: dict[Language, Wordings]
    answer: dict[Language, str]
    rows: tuple[tuple[str, str, str, str], ...]
    strangers: tuple[tuple[str, str], ...] = ()
    """Subjects (en, ja) that no row knows."""


def _rows(text: str) -> tuple[tuple[str, str, str, str], ...]:
    """``subject=answer|主語=答え`` separated by semicolons."""
    out = []
    for part in text.replace("\n", " ").split(";"):
        if part.strip():
            en, ja = part.strip().split("|")
            (a, b), (c, d) = en.split("="), ja.split("=")
            out.append((a.strip(), b.strip(), c.strip(), d.strip()))
    return tuple(out)


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (p.split("|")[0].strip(), p.split("|")[1].strip()) for p in text.replace("\n", " ").split(";") if p.strip()
    )


_CAPITALS = _rows("""
France=Paris|フランス=パリ; Germany=Berlin|ドイツ=ベルリン; Italy=Rome|イタリア=ローマ;
Spain=Madrid|スペイン=マドリード; Japan=Tokyo|日本=東京; China=Beijing|中国=北京;
England=London|イギリス=ロンドン; Russia=Moscow|ロシア=モスクワ; Canada=Ottawa|カナダ=オタワ;
Australia=Canberra|オーストラリア=キャンベラ; Brazil=Brasilia|ブラジル=ブラジリア;
India=New Delhi|インド=ニューデリー; Egypt=Cairo|エジプト=カイロ; Greece=Athens|ギリシャ=アテネ;
Portugal=Lisbon|ポルトガル=リスボン; Austria=Vienna|オーストリア=ウィーン;
Sweden=Stockholm|スウェーデン=ストックホルム; Norway=Oslo|ノルウェー=オスロ;
Finland=Helsinki|フィンランド=ヘルシンキ; Denmark=Copenhagen|デンマーク=コペンハーゲン;
Poland=Warsaw|ポーランド=ワルシャワ; Turkey=Ankara|トルコ=アンカラ;
South Korea=Seoul|韓国=ソウル; Thailand=Bangkok|タイ=バンコク; Vietnam=Hanoi|ベトナム=ハノイ;
Mexico=Mexico City|メキシコ=メキシコシティ; Ireland=Dublin|アイルランド=ダブリン;
Switzerland=Bern|スイス=ベルン; Belgium=Brussels|ベルギー=ブリュッセル;
Hungary=Budapest|ハンガリー=ブダペスト; Peru=Lima|ペルー=リマ; Chile=Santiago|チリ=サンティアゴ;
Kenya=Nairobi|ケニア=ナイロビ; Cuba=Havana|キューバ=ハバナ
""")

RELATIONS = (
    Relation(
        "capital",
        both(
            """
        [What is|What's|Which city is|Name|Tell me|Do you know|Say|Give me|I want to know] the capital [city|] of {x}[?|]
        [What is|What's|Tell me|Name] {x}'s capital [city|][?|]
        [Which|What] city is [the|] capital of {x}?
        Which city is {x}'s capital?
        The capital of {x} is [which city?|what?|called what?|...?]
        [Can you|Could you|Please] [tell me|name|say|give me] the capital of {x}[?|]
        {x}: [what is the|which is the|the|] capital[?| city?]
        [What|Which] city has {x} as its country, as capital?
        [I forgot|I do not remember|Remind me of] the capital of {x}.
        What is the name of the capital [city|] of {x}?
        If I [visit|go to] {x}, [what|which] is the capital[ city|]?
        Which capital does {x} have?
        The government of {x} sits in which capital?
        I travel to {x}. What is the capital?
        ~ From which city is {x} governed as its capital?
        ~ If I travel to {x}, what is its capital called?
        """,
            """
        {x}の首都は[どこ|何|なんという都市|どの都市|どちら][ですか|でしょうか|]?
        {x}の首都[を教えてください|を答えてください|の名前は|はどこか教えて|を言ってください|を教えて|は|が知りたいです]。
        [どの都市|どこ|どの町]が{x}の首都[ですか|でしょうか]?
        {x}の首都の[名前|名前を教えてください|名前は何ですか]。
        {x}という国の首都は[どこ|何]ですか?
        {x}の首都を[知っていますか|知ってる|ご存じですか]?
        [首都の問題|首都クイズ|首都]: {x}[は?|の首都は?|]
        {x}の首都を[忘れました|思い出せません]。
        {x}を旅行します。首都はどこですか?
        {x}にある首都の名前を[教えて|挙げて]ください。
        {x}の首都になっている[町|都市]は何ですか?
        ~ {x}で首都になっている都市を挙げてください。
        ~ {x}へ行きます。首都は何という町ですか?
        """,
        ),
        {"en": "The capital of {x} is {y}.", "ja": "{x}の首都は{y}です。"},
        _CAPITALS,
        _pairs(
            "Mongolia|モンゴル; Nepal|ネパール; Ghana|ガーナ; Bolivia|ボリビア; Latvia|ラトビア; "
            "Iceland|アイスランド; Chad|チャド; Fiji|フィジー; Malta|マルタ; Togo|トーゴ; "
            "Laos|ラオス; Qatar|カタール; Mali|マリ; Yemen|イエメン; Oman|オマーン; "
            "Atlantis|アトランティス; Senegal|セネガル; Panama|パナマ; Jamaica|ジャマイカ; "
            "Bhutan|ブータン; Angola|アンゴラ; Haiti|ハイチ; Libya|リビア; Sudan|スーダン"
        ),
    ),
    Relation(
        "country",
        both(
            """
        [Of which|Of what] country is {y} the capital?
        {y} is the capital of [which country|what country|which nation]?
        [Which|What] country has {y} as its capital?
        [Which|What] country's capital is {y}?
        [Name|Tell me|Say] the country [whose capital is|with the capital] {y}.
        [What is|Which is] the country with {y} as [its|the] capital?
        [Tell me|Do you know] which country has the capital {y}[.|]
        In which country is {y} the capital?
        {y} is a capital. Of which country?
        The people of which country have {y} as capital?
        ~ People call {y} their capital: in which country?
        """,
            """
        {y}は[どこの国|どの国|何という国|どこ]の首都[ですか|でしょうか|]?
        {y}を首都とする国は[どこ|何]ですか?
        首都が{y}の国は[どこ|どの国|何][ですか|でしょうか]?
        [どこの国|どの国]の首都が{y}ですか?
        {y}が首都である国[を教えてください|の名前は何ですか|を答えてください]。
        {y}が首都の国[を教えてください|はどこですか|の名前は]。
        {y}が首都になっているのはどの国ですか?
        首都{y}がある国を[挙げて|教えて]ください。
        ~ 首都として{y}を持つ国を挙げてください。
        """,
        ),
        {"en": "{y} is the capital of {x}.", "ja": "{y}は{x}の首都です。"},
        _CAPITALS,
    ),
    Relation(
        "symbol",
        both(
            """
        [What is|What's|Tell me|Give me|Name|Do you know] the [chemical|element|] symbol [for|of] {x}[?|]
        [Which|What] [chemical|] symbol [does {x} have|stands for {x}|is used for {x}]?
        [How is|How do you write] {x} [written|] as a chemical symbol?
        {x}: [what is its|which] chemical symbol?
        The chemical symbol [for|of] {x} is [what|which]?
        [Can you|Please] tell me the symbol of the element {x}[?|]
        In the periodic table, {x} has which symbol?
        Which letters [mean|stand for] {x} in chemistry?
        On the periodic table, what is the symbol for {x}?
        How is {x} marked in chemistry?
        ~ In the periodic table, which letters mark {x}?
        """,
            """
        {x}の[元素記号|化学記号|記号]は[何|なん][ですか|でしょうか|]?
        {x}の[元素記号|化学記号][を教えてください|を答えてください|は|を教えて|を書いてください]。
        [元素記号|化学記号]で{x}は[何|どう書きます|どう表します][か|]?
        {x}を[元素記号|化学記号]で[書いてください|表してください]。
        {x}という元素の記号は何ですか?
        周期表の{x}の記号は何ですか?
        {x}は化学でどんな文字になりますか?
        周期表で{x}の文字を教えてください。
        ~ 周期表で{x}はどの文字で表されますか?
        """,
        ),
        {"en": "The chemical symbol for {x} is {y}.", "ja": "{x}の元素記号は{y}です。"},
        _rows("""
        gold=Au|金=Au; silver=Ag|銀=Ag; iron=Fe|鉄=Fe; copper=Cu|銅=Cu; oxygen=O|酸素=O;
        hydrogen=H|水素=H; carbon=C|炭素=C; nitrogen=N|窒素=N; sodium=Na|ナトリウム=Na;
        helium=He|ヘリウム=He; calcium=Ca|カルシウム=Ca; zinc=Zn|亜鉛=Zn; lead=Pb|鉛=Pb;
        tin=Sn|スズ=Sn; neon=Ne|ネオン=Ne; iodine=I|ヨウ素=I"""),
        _pairs(
            "cobalt|コバルト; radon|ラドン; titanium|チタン; xenon|キセノン; boron|ホウ素; "
            "uranium|ウラン; cesium|セシウム; gallium|ガリウム"
        ),
    ),
    Relation(
        "currency",
        both(
            """
        [What is|What's|Tell me|Name|Do you know] the currency [of|in|used in] {x}[?|]
        [Which|What] currency [does {x} use|is used in {x}|do people use in {x}]?
        [Which|What] money [does {x} use|is used in {x}|do people pay with in {x}]?
        [How do|With what do] people pay in {x}?
        {x}: [what is its|which] currency?
        What is the money of {x} called?
        What do I pay with in {x}?
        What is the local currency of {x}?
        The money in {x} has what name?
        ~ In {x}, what is the local money called?
        """,
            """
        {x}の[通貨|お金]は[何|なん][ですか|でしょうか|]?
        {x}の通貨[を教えてください|を答えてください|の名前は|は|を教えて]。
        {x}では[どの通貨|何という通貨|どんなお金]を[使いますか|使っていますか]?
        {x}で使われる[通貨|お金]は何ですか?
        {x}で買い物をする時のお金は何ですか?
        {x}のお金の名前は何といいますか?
        {x}での支払いには何を使いますか?
        ~ {x}での支払いに使うお金は何といいますか?
        """,
        ),
        {"en": "The currency of {x} is the {y}.", "ja": "{x}の通貨は{y}です。"},
        _rows("""
        Japan=yen|日本=円; England=pound|イギリス=ポンド; France=euro|フランス=ユーロ;
        Germany=euro|ドイツ=ユーロ; Italy=euro|イタリア=ユーロ; China=yuan|中国=元;
        India=rupee|インド=ルピー; Russia=ruble|ロシア=ルーブル; Switzerland=franc|スイス=フラン;
        South Korea=won|韓国=ウォン; Thailand=baht|タイ=バーツ; Turkey=lira|トルコ=リラ;
        Mexico=peso|メキシコ=ペソ; Brazil=real|ブラジル=レアル; Sweden=krona|スウェーデン=クローナ;
        Vietnam=dong|ベトナム=ドン"""),
    ),
    Relation(
        "continent",
        both(
            """
        [On|In] [which|what] continent is {x}?
        [Which|What] continent [is {x} [on|in]|does {x} belong to]?
        [Tell me|Name|Say] the continent of {x}.
        [Where|On which part of the world] is {x}[, which continent|]?
        {x} [is part of|belongs to|lies on] [which|what] continent?
        On a map, on which continent is {x}?
        Which continent holds the country {x}?
        On the globe, {x} is on which continent?
        Looking at a map, where is {x}?
        ~ Looking at a globe, which continent holds {x}?
        """,
            """
        {x}は[どの大陸|何大陸|どの地域|どの州]に[ありますか|あるのですか|属していますか]?
        {x}がある[大陸|地域|州]は[どこ|何][ですか|でしょうか]?
        {x}のある[大陸|地域][を教えてください|を答えてください]。
        {x}は世界のどこに[ありますか|あるのですか]?
        地図で見ると{x}はどこの大陸ですか?
        {x}は地球のどの大陸にありますか?
        地球儀では{x}はどこにありますか?
        ~ 地球儀で見ると{x}はどの大陸に入りますか?
        """,
        ),
        {"en": "{x} is in {y}.", "ja": "{x}は{y}にあります。"},
        _rows("""
        France=Europe|フランス=ヨーロッパ; Germany=Europe|ドイツ=ヨーロッパ; Italy=Europe|イタリア=ヨーロッパ;
        Spain=Europe|スペイン=ヨーロッパ; Japan=Asia|日本=アジア; China=Asia|中国=アジア;
        India=Asia|インド=アジア; Thailand=Asia|タイ=アジア; Egypt=Africa|エジプト=アフリカ;
        Kenya=Africa|ケニア=アフリカ; Brazil=South America|ブラジル=南アメリカ;
        Peru=South America|ペルー=南アメリカ; Chile=South America|チリ=南アメリカ;
        Canada=North America|カナダ=北アメリカ; Mexico=North America|メキシコ=北アメリカ;
        Norway=Europe|ノルウェー=ヨーロッパ; Poland=Europe|ポーランド=ヨーロッパ"""),
    ),
    Relation(
        "legs",
        both(
            """
        How many legs [does {x} have|has {x} got]?
        [What is|Tell me] the number of legs of {x}[?|]
        [On how many|How many] legs does {x} walk?
        [Tell me|Do you know] how many legs {x} has[.|]
        Count for me: how many legs has {x}?
        The legs of {x}: how many?
        ~ Count the legs of {x}.
        """,
            """
        {x}の[足|脚]は何本[ですか|ありますか|でしょうか]?
        {x}には[足|脚]が何本ありますか?
        {x}の[足|脚]の[数|本数][は|を教えてください|は何本ですか]。
        {x}は何本足ですか?
        {x}の足を数えると何本ですか?
        {x}が持っている足は何本ですか?
        ~ {x}は足を何本持っていますか?
        """,
        ),
        {"en": "The answer is {y}: {x} has {y} legs.", "ja": "{x}の足は{y}本です。"},
        _rows("""
        a spider=8|クモ=8; an ant=6|アリ=6; a bee=6|蜂=6; a dog=4|犬=4; a cat=4|猫=4; a bird=2|鳥=2;
        a horse=4|馬=4; a snake=0|蛇=0; a chicken=2|ニワトリ=2; a crab=10|カニ=10; an octopus=8|タコ=8"""),
    ),
    Relation(
        "author",
        both(
            """
        Who [wrote|is the author of|was the author of|is the writer of] {x}?
        {x} was written by whom?
        [Tell me|Name|Do you know] [who wrote|the author of] {x}[.|]
        [Which|What] author wrote {x}?
        Whose [book|work] is {x}?
        {x} is from which author?
        From which writer does {x} come?
        {x} came from the pen of which author?
        ~ From whose pen does {x} come?
        """,
            """
        {x}を書いた[のは誰|人は誰|作家は誰][ですか|でしょうか]?
        {x}の[作者|著者|作家]は[誰|だれ|どなた][ですか|でしょうか]?
        {x}の[作者|著者][を教えてください|の名前は]。
        誰が{x}を書きましたか?
        {x}は誰の[作品|本]ですか?
        {x}という作品の作家は誰ですか?
        どの作家が{x}を書きましたか?
        ~ {x}はどの作家の作品ですか?
        """,
        ),
        {"en": "{y} wrote {x}.", "ja": "{x}を書いたのは{y}です。"},
        _rows("""
        Hamlet=Shakespeare|ハムレット=シェイクスピア; Faust=Goethe|ファウスト=ゲーテ;
        Don Quixote=Cervantes|ドン・キホーテ=セルバンテス; Kokoro=Natsume Soseki|こころ=夏目漱石;
        Rashomon=Akutagawa|羅生門=芥川龍之介; The Tale of Genji=Murasaki Shikibu|源氏物語=紫式部;
        War and Peace=Tolstoy|戦争と平和=トルストイ; Les Miserables=Victor Hugo|レ・ミゼラブル=ユゴー;
        The Odyssey=Homer|オデュッセイア=ホメロス"""),
        _pairs(
            "The Green Window|緑の窓; Night Train|夜の列車; The Last Teacup|最後の湯のみ; "
            "Blue Rain|青い雨; The Quiet Clock|静かな時計; Paper Sea|紙の海"
        ),
    ),
    Relation(
        "opposite",
        both(
            """
        [What is|What's|Tell me|Give me|Name|Say] the opposite of {x}[?|]
        [Which|What] word is the opposite of {x}?
        [What is|Give me] an antonym [of|for] {x}[?|]
        {x}: [what is the|the|its] opposite[?|]
        [Can you|Please] [tell me|name|give me] the opposite [word|] of {x}[?|]
        [What is|Give me|Say] the contrary of {x}[.|?]
        What is the reverse of {x}?
        Which word means not {x}, but the opposite?
        What word has the contrary meaning to {x}?
        ~ Which word means the contrary of {x}?
        """,
            """
        {x}の[反対|反対語|反対の言葉|対義語|反意語]は[何|なん][ですか|でしょうか|]?
        {x}の[反対語|対義語|反対の言葉][を教えてください|を答えてください|は|を言ってください]。
        {x}と反対の[言葉|意味の言葉]は何ですか?
        [対義語|反対語]: {x}
        {x}の逆は何ですか?
        {x}の逆の言葉を[教えて|挙げて]ください。
        {x}と逆の意味は何ですか?
        ~ {x}とは逆の意味の言葉を挙げてください。
        """,
        ),
        {"en": "The opposite of {x} is {y}.", "ja": "{x}の反対は{y}です。"},
        _rows("""
        hot=cold|暑い=寒い; big=small|大きい=小さい; fast=slow|速い=遅い; high=low|高い=低い;
        long=short|長い=短い; new=old|新しい=古い; light=dark|明るい=暗い; heavy=light|重い=軽い;
        strong=weak|強い=弱い; near=far|近い=遠い; open=closed|開く=閉まる; up=down|上=下;
        left=right|左=右; day=night|昼=夜; rich=poor|豊か=貧しい; early=late|早い=遅い;
        wide=narrow|広い=狭い; easy=difficult|簡単=難しい; inside=outside|中=外; happy=sad|嬉しい=悲しい;
        hard=soft|硬い=柔らかい; win=lose|勝つ=負ける; buy=sell|買う=売る; begin=end|始まる=終わる"""),
    ),
    Relation(
        "planet",
        both(
            """
        [Which|What] [planet is|is] the {x} planet [from|counted from] the sun?
        [What is|Name|Tell me|Say] the {x} planet from the sun[?|]
        [Counting from the sun|From the sun], [which|what] planet is the {x}?
        [What is the name of|Which is] the {x} planet of the solar system?
        What planet comes {x} after the sun?
        Going out from the sun, which planet is {x}?
        Which planet is {x} in the row from the sun?
        ~ Going outward from the sun, what comes {x}?
        """,
            """
        太陽から{x}番目の惑星は[何|どれ|なん][ですか|でしょうか|]?
        太陽から数えて{x}番目の惑星は[何|どれ][ですか|でしょうか]?
        太陽系の{x}番目の惑星[を教えてください|は何ですか|の名前は]。
        太陽に近い順で{x}番目の惑星は何ですか?
        惑星を太陽から並べると{x}番目は何ですか?
        ~ 太陽の近くから並べると{x}番目に来る星はどれですか?
        """,
        ),
        {"en": "The {x} planet from the sun is {y}.", "ja": "太陽から{x}番目の惑星は{y}です。"},
        _rows("""
        first=Mercury|1=水星; second=Venus|2=金星; third=Earth|3=地球; fourth=Mars|4=火星;
        fifth=Jupiter|5=木星; sixth=Saturn|6=土星; seventh=Uranus|7=天王星; eighth=Neptune|8=海王星"""),
    ),
    Relation(
        "superlative",
        both(
            """
        [What is|What's|Which is|Name|Tell me|Do you know|Say] the {x}[?|]
        [Can you|Could you|Please] [tell me|name] the {x}[?|]
        [I want to know|I would like to know|Tell me, what is] the {x}[.|?]
        The {x} is [what|which|called what]?
        [Which|What] is called the {x}?
        Name what is known as the {x}.
        What has the title of the {x}?
        Which one is the {x}?
        ~ Which one holds the title of the {x}?
        """,
            """
        {x}は[何|どれ|なん][ですか|でしょうか|]?
        {x}[を教えてください|を答えてください|の名前は|を教えて|を知っていますか]。
        {x}といえば[何|どれ]ですか?
        [質問|クイズ]: {x}は?
        {x}と呼ばれるのは何ですか?
        {x}として有名なのは何ですか?
        {x}を挙げてください。
        ~ {x}として知られるものを挙げてください。
        """,
        ),
        {"en": "The {x} is {y}.", "ja": "{x}は{y}です。"},
        _rows("""
        highest mountain in the world=Mount Everest|世界で一番高い山=エベレスト;
        highest mountain in Japan=Mount Fuji|日本で一番高い山=富士山;
        longest river in Japan=the Shinano|日本で一番長い川=信濃川;
        largest ocean=the Pacific Ocean|世界で一番大きい海=太平洋;
        largest lake in Japan=Lake Biwa|日本で一番大きい湖=琵琶湖;
        largest country in the world=Russia|世界で一番大きい国=ロシア;
        smallest country in the world=Vatican City|世界で一番小さい国=バチカン市国;
        largest planet=Jupiter|一番大きい惑星=木星; smallest planet=Mercury|一番小さい惑星=水星;
        fastest land animal=the cheetah|一番速い陸の動物=チーター;
        tallest animal=the giraffe|一番背が高い動物=キリン;
        largest animal=the blue whale|一番大きい動物=シロナガスクジラ;
        largest desert in Africa=the Sahara|アフリカで一番大きい砂漠=サハラ砂漠;
        freezing point of water=0 degrees Celsius|水が凍る温度=0度;
        boiling point of water=100 degrees Celsius|水が沸騰する温度=100度;
        chemical formula of water=H2O|水の化学式=H2O; chemical formula of salt=NaCl|塩の化学式=NaCl;
        chemical formula of carbon dioxide=CO2|二酸化炭素の化学式=CO2;
        national flower of Japan=the cherry blossom|日本の国の花=桜;
        smallest prime number=2|一番小さい素数=2"""),
    ),
)

FORMULA = both(
    """
    [What is|What's|Tell me|Give me|Show me|Write|State|Write down|I need|Do you know] the {x} [formula|equation][?|]
    [What is|What's|Tell me|Give me|Show me|Write|State|Write down|I need] the formula [for|of] [the|] {x}[?|]
    [What is|Which is] the [formula|equation] [for|of|to calculate|to find] the {x}?
    [How do you|How do I|How can I|How to] [calculate|compute|find|get] the {x}?
    [Can you|Could you|Please] [give me|tell me|write|show me] the [formula for the {x}|{x} formula][?|]
    [Which|What] formula gives the {x}?
    [How is|In which way is] the {x} [calculated|computed|defined]?
    {x}: [what is the|which|the|] formula[?|]
    [Formula|The formula] for the {x}[?|, please.]
    [Which|What] expression gives the {x}?
    How do we write the {x} in [math|mathematics|symbols]?
    [Remind me of|I forgot] the {x} formula.
    With which formula do I work out the {x}?
    How is the {x} written as a formula?
    ~ With which expression does one work out the {x}?
    ~ Remind me how the {x} is written in mathematics.
    """,
    """
    {x}の[公式|式]は[何|なん][ですか|でしょうか|]?
    {x}の[公式|式][を教えてください|を書いてください|を答えてください|を示してください|を教えて|は|が知りたいです]。
    {x}は[どう|どうやって|どのように][計算しますか|求めますか|計算するのですか|求めるのですか]?
    {x}を[求める|計算する|表す][公式|式]は[何|どれ][ですか|でしょうか]?
    {x}を[求める|計算する][公式|式]を[教えてください|書いてください]。
    {x}の[計算方法|求め方|計算のしかた][は|を教えてください|は何ですか]。
    [公式|数学の公式]: {x}
    {x}は[数学で|]どのような式になりますか?
    {x}を表す式を[思い出せません|教えてください]。
    {x}を出す[式|公式]は何ですか?
    {x}を計算するにはどの公式を使いますか?
    ~ {x}はどんな式で表されますか?
    ~ {x}を出すにはどの式を使いますか?
    """,
)
# (names in English, names in Japanese, the formula, a sentence that explains the letters)
FORMULAS: tuple[tuple[tuple[str, ...], tuple[str, ...], str, str, str], ...] = (
    (
        ("quadratic", "quadratic equation", "solutions of a quadratic equation", "roots of ax² + bx + c = 0"),
        ("二次方程式", "二次方程式の解", "2次方程式"),
        "x = (-b ± √(b² - 4ac)) / (2a)",
        "It solves ax² + bx + c = 0.",
        "これは ax² + bx + c = 0 の解です。",
    ),
    (
        ("area of a circle", "circle area"),
        ("円の面積", "円の広さ"),
        "A = πr²",
        "Here r is the radius.",
        "r は半径です。",
    ),
    (
        ("circumference of a circle", "circle circumference"),
        ("円周", "円周の長さ"),
        "C = 2πr",
        "Here r is the radius.",
        "r は半径です。",
    ),
    (
        ("area of a triangle", "triangle area"),
        ("三角形の面積",),
        "A = bh / 2",
        "Here b is the base and h is the height.",
        "b は底辺、h は高さです。",
    ),
    (
        ("area of a rectangle", "rectangle area"),
        ("長方形の面積",),
        "A = ab",
        "Here a and b are the sides.",
        "a と b は辺の長さです。",
    ),
    (
        ("area of a trapezoid", "trapezoid area"),
        ("台形の面積",),
        "A = (a + b)h / 2",
        "Here a and b are the parallel sides and h is the height.",
        "a と b は平行な辺、h は高さです。",
    ),
    (("volume of a sphere", "sphere volume"), ("球の体積",), "V = 4πr³ / 3", "Here r is the radius.", "r は半径です。"),
    (
        ("surface area of a sphere", "sphere surface"),
        ("球の表面積",),
        "A = 4πr²",
        "Here r is the radius.",
        "r は半径です。",
    ),
    (
        ("volume of a cylinder", "cylinder volume"),
        ("円柱の体積",),
        "V = πr²h",
        "Here r is the radius and h is the height.",
        "r は半径、h は高さです。",
    ),
    (
        ("volume of a cone", "cone volume"),
        ("円錐の体積",),
        "V = πr²h / 3",
        "Here r is the radius and h is the height.",
        "r は半径、h は高さです。",
    ),
    (("volume of a cube", "cube volume"), ("立方体の体積",), "V = a³", "Here a is the side.", "a は一辺の長さです。"),
    (
        ("Pythagorean theorem", "Pythagorean", "hypotenuse of a right triangle"),
        ("三平方の定理", "ピタゴラスの定理", "直角三角形の斜辺"),
        "a² + b² = c²",
        "Here c is the hypotenuse.",
        "c は斜辺です。",
    ),
    (
        ("speed", "average speed"),
        ("速さ", "平均の速さ"),
        "v = d / t",
        "Here d is the distance and t is the time.",
        "d は距離、t は時間です。",
    ),
    (
        ("force", "Newton's second law"),
        ("力", "運動方程式"),
        "F = ma",
        "Here m is the mass and a is the acceleration.",
        "m は質量、a は加速度です。",
    ),
    (
        ("kinetic energy",),
        ("運動エネルギー",),
        "E = mv² / 2",
        "Here m is the mass and v is the speed.",
        "m は質量、v は速さです。",
    ),
    (
        ("mass-energy", "mass-energy equivalence"),
        ("質量とエネルギー", "質量エネルギー"),
        "E = mc²",
        "Here m is the mass and c is the speed of light.",
        "m は質量、c は光の速さです。",
    ),
    (
        ("Ohm's law", "voltage"),
        ("オームの法則", "電圧"),
        "V = IR",
        "Here I is the current and R is the resistance.",
        "I は電流、R は抵抗です。",
    ),
    (
        ("electric power",),
        ("電力",),
        "P = VI",
        "Here V is the voltage and I is the current.",
        "V は電圧、I は電流です。",
    ),
    (("density",), ("密度",), "ρ = m / V", "Here m is the mass and V is the volume.", "m は質量、V は体積です。"),
    (
        ("mean of n numbers", "arithmetic mean"),
        ("平均", "算術平均"),
        "m = (x1 + x2 + ... + xn) / n",
        "Add all numbers and divide by n.",
        "全部足して n で割ります。",
    ),
    (
        ("sum of the first n numbers", "sum from 1 to n"),
        ("1からnまでの和", "1からnまでの合計"),
        "S = n(n + 1) / 2",
        "It adds 1, 2, 3 up to n.",
        "1 から n までを足します。",
    ),
    (
        ("compound interest",),
        ("複利",),
        "A = P(1 + r)^n",
        "Here P is the principal, r is the rate and n is the number of years.",
        "P は元金、r は利率、n は年数です。",
    ),
    (
        ("slope of a line", "line slope"),
        ("直線の傾き",),
        "m = (y2 - y1) / (x2 - x1)",
        "It uses two points of the line.",
        "直線上の二点を使います。",
    ),
    (
        ("binomial square", "square of a sum"),
        ("和の二乗", "和の平方"),
        "(a + b)² = a² + 2ab + b²",
        "It expands a squared sum.",
        "和の平方を展開します。",
    ),
    (
        ("difference of squares",),
        ("平方の差", "二乗の差"),
        "a² - b² = (a + b)(a - b)",
        "It factors a difference of squares.",
        "平方の差を因数分解します。",
    ),
    (
        ("distance between two points",),
        ("二点間の距離", "2点間の距離"),
        "d = √((x2 - x1)² + (y2 - y1)²)",
        "It comes from the Pythagorean theorem.",
        "三平方の定理から出ます。",
    ),
)
EXAMPLE_FORMULA = {"en": "What is the quadratic equation formula?", "ja": "二次方程式の公式は何ですか?"}


def _fact(s: Source) -> Document:
    relation = s.rng.choices(RELATIONS, [len(r.rows) ** 0.5 for r in RELATIONS])[0]
    if relation.strangers and s.chance(0.15):
        # The strangers of evaluation are strangers of training too, in new wordings.
        x = s.pick(relation.strangers)[0 if s.english else 1]
        return ask("unknown", s, s.say(relation.wordings, x=x, y=x), UNKNOWN[s.language], kind="stranger")
    row = s.pick(relation.rows)
    x, y = row[:2] if s.english else row[2:]
    answer = relation.answer[s.language].format(x=x, y=y)
    answer = answer[0].upper() + answer[1:]
    return ask("facts", s, s.say(relation.wordings, x=x, y=y), answer, kind=relation.name)


def _formula(s: Source) -> Document:
    names_en, names_ja, formula, note_en, note_ja = s.pick(FORMULAS)
    name = s.pick(names_en if s.english else names_ja)
    question = s.say(FORMULA, x=name)
    if not s.test and formula.startswith("x = (-b") and s.chance(0.2):
        question = EXAMPLE_FORMULA[s.language]
    if s.english:
        answer = f"The formula is {formula}. {note_en}"
    else:
        answer = f"公式は {formula} です。{note_ja}"
    return ask("facts", s, question, answer, kind="formula")


def build(s: Source) -> Document:
    return _formula(s) if s.chance(0.22) else _fact(s)
