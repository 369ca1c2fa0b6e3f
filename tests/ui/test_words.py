"""The words of the app: the same keys and placeholders in every language, and every key that is used."""

import ast
import re
import string
from pathlib import Path

import pytest

import foredraft.ui
from foredraft.ui.i18n import LANGUAGES, Words, negotiate, table

PACKAGE = Path(foredraft.ui.__file__).parent


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_every_language_has_the_same_keys_and_placeholders(language):
    english, other = table("en"), table(language)
    assert set(other) == set(english)
    for key, text in other.items():
        assert placeholders(text) == placeholders(english[key]), key
        assert text.strip(), key


def used_keys():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            arguments = [node.args[0]]
            if isinstance(arguments[0], ast.IfExp):
                arguments = [arguments[0].body, arguments[0].orelse]
            for argument in arguments:
                if name in ("t", "words") and isinstance(argument, ast.Constant):
                    yield path.name, argument.value


def test_every_key_that_is_used_exists():
    missing = {(file, key) for file, key in used_keys() if key not in table("en")}
    assert not missing


def test_every_key_is_used():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    unused = []
    for key in table("en"):
        prefix = key.rpartition(".")[0]
        words = key.split("_")
        stem = "|".join(re.escape("_".join(words[:n])) for n in range(1, len(words))) or "$"
        whole = f'"{key}"' in sources or f"'{key}'" in sources or key == "{key}"
        by_group = (
            re.search(rf"""["']{re.escape(prefix)}\.(\{{|["'] ?\+)""", sources) or f'group("{prefix}")' in sources
        )
        by_stem = re.search(rf"""["']({stem})_(\{{|["'] ?\+)""", sources)
        if not (whole or by_group or by_stem):
            unused.append(key)
    assert not unused


def test_words_are_filled_in():
    assert Words("en")("stats.drafts", a=3, d=4, p=75) == "3/4 drafts accepted (75%)"
    assert Words("ja")("stats.drafts", a=3, d=4, p=75) == "ドラフト 4 個中 3 個受理 (75%)"


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
        ("fr,de;q=0.9,ja;q=0.3,en;q=0.1", "ja"),
        ("fr", "en"),
        ("", "en"),
        ("ja;q=x, en", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_decides_the_language(header, language):
    assert negotiate(header) == language
