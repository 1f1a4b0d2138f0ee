"""Words of a text, in any script."""

import re
import sys
import unicodedata
from functools import cache

# Scripts that put no spaces between words: Thai and Lao, Burmese, Khmer, kana, Han.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U00020000-\U0002fa1f]"
)
JOINERS = "\u200c\u200d"  # letters of Persian and of Indian scripts are joined or kept apart by these
WORD = re.compile(r"\w+")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, digits and underscores, with their accents and vowels.

    Letters are composed (NFC), so that `é` is one whether it was written as one or two. A combining mark belongs to its
    letter, as the vowels of Hindi do. Where a script puts no spaces between words, each letter is a word.

    Example:
        >>> split_words("It's GOOD, 10/10!")
        ['it', 's', 'good', '10', '10']
        >>> split_words("好看 ok")
        ['好', '看', 'ok']
    """
    if text.isascii():
        return WORD.findall(text.lower())
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    marked, unspaced = _patterns()
    return (unspaced if UNSPACED.search(composed) else marked).findall(composed)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what a word is where words are spaced, and where some are not."""
    marks = "".join(chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)).startswith("M"))
    letters, marks = rf"\w{marks}{JOINERS}", f"[{marks}{JOINERS}]*"
    alone = f"(?={UNSPACED.pattern})\\w{marks}"
    return re.compile(f"[{letters}]+"), re.compile(f"{alone}|(?:(?!{UNSPACED.pattern})[{letters}])+")
