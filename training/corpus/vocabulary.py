# ruff: noqa: SIM905 - word lists are easier to read as text
"""The words that fill slots, in both languages. All of it is common knowledge, typed by hand."""

from __future__ import annotations

from dataclasses import dataclass

from .source import Language


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing in English (singular, plural) and Japanese."""

    en: str
    plural: str
    ja: str

    @property
    def a(self) -> str:
        return a(self.en)


def a(word: str) -> str:
    """The word with its indefinite article."""
    return ("an " if word[0] in "aeiou" else "a ") + word


def _nouns(text: str) -> tuple[Noun, ...]:
    rows = [part.split("/") for part in text.split()]
    return tuple(Noun(r[0], r[1] or r[0] + "s", r[2]) for r in rows)


THINGS = _nouns(
    "apple//りんご orange//みかん book//本 pencil//鉛筆 ball//ボール egg//卵 stone//石 flower//花 "
    "coin//コイン card//カード cup//カップ box/boxes/箱 key//鍵 letter//手紙 star//星 "
    "lemon//レモン ticket//切符 candle//ろうそく shell//貝 button//ボタン banana//バナナ "
    "chair//椅子 lamp//ランプ hat//帽子 bag//かばん clock//時計 bell//鈴 map//地図 "
    "ring//指輪 tomato/tomatoes/トマト potato/potatoes/じゃがいも peach/peaches/桃 "
    "spoon//スプーン plate//皿 shoe//靴 umbrella//傘 notebook//ノート carrot//にんじん"
)
ANIMALS = _nouns(
    "cat//猫 dog//犬 bird//鳥 fox/foxes/きつね rabbit//うさぎ bear//熊 horse//馬 cow//牛 "
    "mouse/mice/ねずみ frog//かえる owl//ふくろう turtle//亀 monkey//猿 lion//ライオン "
    "tiger//虎 elephant//象 pig//豚 sheep/sheep/羊 goat//やぎ whale//くじら wolf/wolves/狼 "
    "duck//あひる snake//蛇 deer/deer/鹿 panda//パンダ penguin//ペンギン"
)
PLACES = _nouns(
    "park//公園 school//学校 station//駅 library//図書館 market//市場 garden//庭 river//川 "
    "beach//海岸 museum//博物館 office//会社 kitchen//台所 forest//森 bridge//橋 shop//店 "
    "village//村 hospital//病院 castle//城 harbor//港 lake//湖 tower//塔"
)
NAMES: dict[Language, tuple[str, ...]] = {
    "en": tuple(
        (
            "Tom Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mary Nick Olivia Paul Rosa "
            "Sam Tina Victor Wendy Alice Bob Carl Diana Eric Fiona George Helen Ivan Julia Kevin Laura Mark "
            "Nina Oscar Peter Ruth Simon"
        ).split()
    ),
    "ja": tuple(
        (
            "太郎 花子 健太 美咲 翔太 陽子 拓也 由美 直樹 恵子 大輔 真理 一郎 "
            "さくら 誠 香織 隆 明美 剛 春香 悠斗 葵 浩二 千尋 和也 奈緒 亮 智子 "
            "修 彩 健一 久美 進 桜子 学 遥"
        ).split()
    ),
}
CITIES: tuple[tuple[str, str], ...] = tuple(
    (e, j)
    for e, j in (
        p.split("/")
        for p in (
            "Tokyo/東京 Osaka/大阪 Kyoto/京都 Paris/パリ London/ロンドン Berlin/ベルリン "
            "Rome/ローマ Madrid/マドリード Vienna/ウィーン Sapporo/札幌 Nagoya/名古屋 "
            "Boston/ボストン Chicago/シカゴ Lisbon/リスボン Oslo/オスロ Cairo/カイロ "
            "Seoul/ソウル Toronto/トロント Sydney/シドニー Kobe/神戸 Sendai/仙台 "
            "Hamburg/ハンブルク Milan/ミラノ Dublin/ダブリン"
        ).split()
    )
)
JOBS = _nouns(
    "teacher//先生 doctor//医者 cook//料理人 nurse//看護師 pilot//パイロット farmer//農家 "
    "singer//歌手 writer//作家 driver//運転手 engineer//技術者 painter//画家 lawyer//弁護士 "
    "baker//パン屋 dentist//歯医者 student//学生 carpenter//大工"
)
COLORS: tuple[tuple[str, str], ...] = (
    ("red", "赤い"),
    ("blue", "青い"),
    ("white", "白い"),
    ("black", "黒い"),
    ("yellow", "黄色い"),
    ("brown", "茶色い"),
    ("small", "小さい"),
    ("big", "大きい"),
    ("old", "古い"),
    ("new", "新しい"),
    ("beautiful", "美しい"),
    ("heavy", "重い"),
    ("light", "軽い"),
    ("long", "長い"),
)
HOBBIES: tuple[tuple[str, str], ...] = (
    ("chess", "チェス"),
    ("tennis", "テニス"),
    ("music", "音楽"),
    ("painting", "絵"),
    ("cooking", "料理"),
    ("swimming", "水泳"),
    ("reading", "読書"),
    ("fishing", "釣り"),
    ("soccer", "サッカー"),
    ("dancing", "ダンス"),
    ("hiking", "登山"),
    ("skiing", "スキー"),
)
DAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAYS_JA = ("月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日", "日曜日")
MONTHS_EN = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
VARIABLES = tuple(
    (
        "x y z n total count value item name price size index result data text number score key left "
        "right width height start end rate level step limit user word line buffer sum_of best"
    ).split()
)
