"""What the line below an answer says of the draft: only what the answer was long enough to show."""

from types import SimpleNamespace

import pytest

from foredraft.ui.measuring import Measurement
from foredraft.ui.panels.statistics import _gain_words
from foredraft.words import Words


def page(measured=None):
    measuring = SimpleNamespace(of=lambda loaded: measured)
    return SimpleNamespace(words=Words("en"), app=SimpleNamespace(measuring=measuring, loaded=lambda: None))


def stats(took, saved, error=0.0):
    return {"generation_s": took, "saved_s": saved, "saved_error_s": error}


@pytest.mark.parametrize(
    ("figures", "measured", "words", "good"),
    [
        (stats(2.0, 1.8, 0.1), None, "1.9× faster than without a draft", True),
        (stats(2.0, -0.4, 0.1), None, "0.8× the speed without a draft", False),
        (stats(2.0, 0.2, 0.3), None, "about as fast as without a draft", False),
        (stats(0.03, -0.01), None, "Baseline not measured", False),
        (stats(0.03, -0.01), Measurement(2000.0, 3200.0), "1.6× faster than without a draft", True),
        ({"generation_s": 2.0, "saved_s": None}, Measurement(20.0, 10.0), "0.5× the speed without a draft", False),
    ],
)
def test_the_gain_in_words(figures, measured, words, good):
    assert _gain_words(page(measured), figures) == (words, good)
