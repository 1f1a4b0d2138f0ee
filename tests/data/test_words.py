"""Words of a text, in any script."""

import unicodedata

import numpy as np
import pytest

from reuse.data.loading import load
from reuse.data.words import split_words

SENTENCES = {
    "It's GOOD, 10/10!": ["it", "s", "good", "10", "10"],
    "snake_case  tab\tnew\nline": ["snake_case", "tab", "new", "line"],
    "यह किताब, दिन। दान!": ["यह", "किताब", "दिन", "दान"],
    "Très CAFÉ": ["très", "café"],
    "العربية لغة جميلة": ["العربية", "لغة", "جميلة"],
    "הַסֵּפֶר שֶׁלִּי": [unicodedata.normalize("NFC", word) for word in ("הַסֵּפֶר", "שֶׁלִּי")],
    "தமிழ் மொழி": ["தமிழ்", "மொழி"],
    "한국어 문장": ["한국어", "문장"],
    "这部电影好看": list("这部电影好看"),
    "とても良い film": [*"とても良い", "film"],
    "กินข้าว": ["กิ", "น", "ข้", "า", "ว"],
    "ΣΊΣΥΦΟΣ": ["σίσυφος"],
    "!!! …": [],
}  # fmt: skip


@pytest.mark.parametrize("text", SENTENCES)
def test_words_of_many_scripts(text: str) -> None:
    assert split_words(text) == SENTENCES[text]


@pytest.mark.parametrize("text", SENTENCES)
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert split_words(unicodedata.normalize(form, text)) == split_words(text)


def test_scripts_without_spaces_are_said() -> None:
    texts = np.array(["这部电影好看", "good film"] * 20, object)
    (note,) = [note for note in load((texts, [0, 1] * 20)).notes if "without spaces" in note]
    assert note.startswith("texts: 1") and "read letter by letter" in note  # noqa: PT018
    assert not any("without spaces" in note for note in load((np.array(["a b", "c"] * 20), [0, 1] * 20)).notes)
