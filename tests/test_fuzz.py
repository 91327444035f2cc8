"""Any bytes at all, for every parser; longer with HYPOTHESIS_PROFILE=deep, or with ``scripts/fuzz``."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fuzzing import CHECKS, WORDS, spelt
from tests.rows import rows


@rows("target", CHECKS)
def test_whatever_the_bytes_are(target: str) -> None:
    words = WORDS[target]
    words_mostly = st.lists(st.one_of(st.integers(0, len(words) - 1), st.integers(0, 255)), max_size=40).map(bytes)

    @given(data=words_mostly)
    def search(data: bytes) -> None:
        CHECKS[target](spelt(data, words))

    search()
