"""An answer reads the same however its text was cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Reasoning, ResponseParser
from foredraft.formats.table import BARE, LISTED, TAGGED, UNKNOWN
from foredraft.formats.writing import written
from tests.formats.samples import SAMPLES, TOOLS, all_forms, openai_calls

FORMS = [*all_forms(), BARE, LISTED, TAGGED, UNKNOWN]
SCRAPS = ("I look. ", "\n", " ", "{", "[", "]", "}", '"', "<", "</think>", "<think>", "now", "[1, 2]", '{"a": ')
TEXTS = [sample.text for sample in SAMPLES]


@st.composite
def answers(draw):
    """A form and a text that has to do with it: what it writes, parts of that, and what does not belong."""
    form = draw(st.sampled_from(FORMS))
    own = [text for text in form.texts() if "{" not in text]
    if form.calls:
        whole = written(form.calls[0], openai_calls())
        own += [whole, whole[: draw(st.integers(0, len(whole)))], whole[draw(st.integers(0, len(whole))) :]]
    parts = st.lists(st.sampled_from([*own, *SCRAPS, draw(st.sampled_from(TEXTS))]), max_size=7)
    return form, "".join(draw(parts))


def outcome(form, chunks, thinking):
    """What was read, and what was passed on."""
    reader = ResponseParser(thinking, form, tools=TOOLS)
    deltas = [delta for chunk in chunks for delta in reader.feed(chunk)] + reader.end()
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, CallStarted):
            calls[delta.index] = [delta.name, ""]
        elif isinstance(delta, CallArguments):
            calls[delta.index][1] += delta.text
    assert [[call.name, call.arguments] for call in reader.calls] == list(calls.values())
    passed = tuple("".join(d.text for d in deltas if isinstance(d, kind)) for kind in (Reasoning, Content))
    return reader.reasoning, reader.content, calls, passed


@settings(max_examples=400, deadline=None)
@given(answers(), st.booleans(), st.data())
def test_any_cutting_reads_the_same(answer, thinking, data) -> None:
    form, text = answer
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = outcome(form, [text], thinking)
    assert outcome(form, chunks, thinking) == whole
    assert outcome(form, list(text), thinking) == whole


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab {}[]\"':,\n<>/", max_size=60))
def test_nothing_is_lost_of_a_text_without_marks(text) -> None:
    for form in FORMS:
        if form.lead:
            continue
        reader = ResponseParser(False, form, tools=TOOLS)
        for character in text:
            reader.feed(character)
        reader.end()
        assert reader.content == text
