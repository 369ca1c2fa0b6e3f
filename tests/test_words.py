"""The words of every language: one file each, the same keys and placeholders, and every key that is used."""

import ast
import re
import string
import warnings
from pathlib import Path

import pytest

import foredraft
from foredraft.core.reasons import Reason
from foredraft.words import MissingWordsWarning, Words, language_names, languages, negotiate, of_locale, words
from foredraft.words.catalogue import Plural, catalogue

PACKAGE = Path(foredraft.__file__).parent
ALL = languages()


def entries(language):
    return catalogue(language).entries


def texts(entry):
    return entry.forms.values() if isinstance(entry, Plural) else [entry]


def placeholders(entry):
    """Of an entry with plural forms, those of its forms together: "one token" needs no number."""
    return {name for text in texts(entry) for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_each_language_is_a_file_with_a_name():
    assert ALL[0] == "en"
    assert {"en", "ja"} <= set(ALL)
    assert language_names()["ja"] == "日本語"


@pytest.mark.parametrize("language", ALL)
def test_every_language_has_the_same_keys_and_placeholders(language):
    english, other = entries("en"), entries(language)
    assert set(other) == set(english)
    for key, entry in other.items():
        assert placeholders(entry) == placeholders(english[key]), key
        assert all(text.strip() for text in texts(entry)), key


@pytest.mark.parametrize("language", ALL)
def test_plural_entries_have_the_forms_of_their_language_and_nothing_else(language):
    form, english = catalogue(language).form, entries("en")
    assert {form.plural_form(n) for n in range(200)} == set(form.forms)
    for key, entry in entries(language).items():
        if isinstance(entry, Plural):
            assert set(entry.forms) == set(form.forms), key
            assert getattr(english[key], "by", entry.by) == entry.by, key


@pytest.mark.parametrize("language", ALL)
def test_every_list_that_a_text_names_is_joined_somehow(language):
    form = catalogue(language).form
    assert form.joins.keys() == catalogue("en").form.joins.keys()


def calls():
    """Every call in the program: (file, the function's name, arguments that are written out, their names)."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                yield path.name, name, node


def written_out(argument):
    """The texts that an argument may be: one, or the two of a condition."""
    either = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
    return [one.value for one in either if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def used_keys():
    """(file, key, names of the values that it gets; None where those are not written out)."""
    for file, name, node in calls():
        if name in ("t", "words", "say"):
            known = all(keyword.arg for keyword in node.keywords)
            names = {keyword.arg for keyword in node.keywords} if known else None
            yield from ((file, key, names) for key in written_out(node.args[0]) if "." in key)
        elif name == "Reason":
            given = node.args[1] if len(node.args) > 1 else ast.Dict(keys=[], values=[])
            names = None
            if isinstance(given, ast.Dict) and all(isinstance(key, ast.Constant) for key in given.keys):
                names = {key.value for key in given.keys}
            yield from ((file, f"reason.{code}", names) for code in written_out(node.args[0]))


def test_every_key_that_is_used_exists():
    used = list(used_keys())
    assert len(used) > 500
    assert not {(file, key) for file, key, _ in used if key not in entries("en")}


def test_every_text_gets_the_values_that_it_needs():
    for file, key, names in used_keys():
        entry = entries("en").get(key)
        if entry is not None and names is not None:
            needed = placeholders(entry) | ({entry.by} if isinstance(entry, Plural) else set())
            # a template for the browser's side gets none here
            assert not names or needed <= names, (file, key, needed - names)
            assert names or not needed or key in RAW, (file, key, needed)


RAW = frozenset()
"""Texts that the browser's side fills in."""


def test_every_key_is_used():
    whole, beginnings = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            first = node.values[0] if isinstance(node, ast.JoinedStr) else getattr(node, "left", None)
            if isinstance(first, ast.Constant) and str(first.value).endswith(("_", ".")):
                beginnings.add(str(first.value))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "group":
                beginnings |= {f"{group}." for group in written_out(node.args[0])}
    names = {key: key.removeprefix("reason.") for key in entries("en")}
    unknown = {key for key, name in names.items() if not whole & {key, name}}
    assert not [key for key in unknown if not names[key].startswith(tuple(beginnings))]


def test_a_missing_word_is_loud_in_tests_and_english_at_run_time():
    with pytest.raises(MissingWordsWarning):
        words("ja")("no.such.key")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingWordsWarning)
        assert words("ja")("no.such.key", n=3) == "[no.such.key: n=3]"
        assert words("en")("stats.speed") == "{tps} tok/s"


def test_what_another_language_lacks_is_said_in_english(monkeypatch):
    lacking = Words("ja")
    lacking._catalogue = type(lacking._catalogue)(lacking._catalogue.form, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingWordsWarning)
        assert lacking("common.save") == "Save"


def test_a_reason_keeps_its_numbers_on_its_way_through_json():
    inner = Reason("a", {"n": 1})
    reason = Reason("b", {"why": inner, "all": (inner, "x", 2.5), "none": None})
    assert Reason.from_dict(reason.as_dict()) == reason
    assert reason != Reason("b", {"why": inner})
    assert len({reason, Reason.from_dict(reason.as_dict())}) == 1


def test_words_are_filled_in():
    assert Words("en")("stats.drafts", a=3, d=4, p=75) == "3/4 draft tokens accepted (75%)"
    assert Words("ja")("stats.drafts", a=3, d=4, p=75) == "4個中3個のドラフトトークンを受理 (75%)"


def test_the_terms_our_first_users_look_for():
    japanese = Words("ja")
    assert japanese("spec.title") == "投機的デコーディング"
    assert japanese("spec.help").startswith("選択的デコーディングとも呼ばれます。")
    assert japanese("none.title") == "互換性のあるドラフトモデルはありません"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ja,en-US;q=0.9,en;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.1", "en"),
        ("fr,es;q=0.9,ja;q=0.3,en;q=0.1", "ja"),
        ("fr,de-AT;q=0.9,ja;q=0.3,en;q=0.1", "de"),
        ("fr", "en"),
        ("", "en"),
        ("ja;q=x, en", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_decides_the_language(header, language):
    assert negotiate(header) == language


@pytest.mark.parametrize(
    ("locale", "language"), [("ja_JP.UTF-8", "ja"), ("C.UTF-8", "en"), ("en-GB", "en"), ("", "en"), ("jam", "en")]
)
def test_the_systems_locale_names_the_language(locale, language):
    assert of_locale(locale) == language


# ---- the pages ----

ROOT = Path(__file__).parent.parent
QUOTED = re.compile(r"""(?<!\*)\*"([^"`]+)"\*(?!\*)""")
"""How pages quote what the program says: *"in italics and quotes"*."""


def pattern(text):
    """What an entry may come out as."""
    parts = string.Formatter().parse(text)
    return "".join(re.escape(literal) + ("" if name is None else ".+?") for literal, name, _, _ in parts)


def quotes():
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for quoted in QUOTED.findall(page.read_text(encoding="utf-8")):
            yield page.name, " ".join(quoted.split())


def test_pages_quote_what_the_program_says():
    reasons = [entry for key, entry in entries("en").items() if key.startswith("reason.")]
    said = re.compile("|".join(pattern(text) for one in reasons for text in texts(one) if not text.startswith("{")))
    found = list(quotes())
    assert {"troubleshooting.md", "never-slower.md", "app.md"} <= {page for page, _ in found}
    assert not [(page, quoted) for page, quoted in found if not said.fullmatch(quoted)]
