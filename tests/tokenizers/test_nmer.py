"""CornBERT's n-mers: golden ids, case, offsets, and the same from a fast tokenizer."""

from itertools import product

import numpy as np
import pytest
from transformers import AutoTokenizer

from genomelm_utils.tokenizers.kmer import seq2kmer
from genomelm_utils.tokenizers.nmer import (
    EOS,
    SOS,
    UNK,
    build_nmer_tokenizer,
    nmer_ids,
    nmer_vocab_size,
    nmer_vocabulary,
)


def test_golden_ids() -> None:
    """Golden fact 5."""
    assert nmer_vocabulary(2)["AC"] == 7
    assert nmer_vocabulary(2)["GT"] == 21
    assert nmer_vocab_size(2) == len(nmer_vocabulary(2)) == 30
    assert nmer_vocab_size(3) == 130
    assert nmer_ids("ACGTN", 1).tolist() == [5, 7, 8, 6, 9]
    for case in ("corrected", "reference"):
        assert nmer_ids("acgtn", 1, case=case).tolist() == [5, 7, 8, 6, 9]
        assert nmer_ids("gt", 2, case=case).tolist() == [21]
    assert len(nmer_ids("A" * 1000, 6)) == 166
    assert len(nmer_ids("A" * 1000, 6, step=1)) == 995


def test_special_tokens_come_first_and_words_in_order() -> None:
    tokens = list(nmer_vocabulary(2))
    assert tokens[:5] == ["<SOS>", "<EOS>", "<PAD>", "<UNK>", "<MASK>"]
    assert tokens[5:] == ["".join(word) for word in product("ATCGN", repeat=2)]


@pytest.mark.parametrize("case", ["corrected", "reference"])
@pytest.mark.parametrize(("n", "step", "offset"), [(1, 1, 0), (3, 3, 0), (3, 1, 2), (2, 5, 1)])
def test_equals_slices_of_the_text(n, step, offset, case) -> None:
    rng = np.random.default_rng(n)
    text = "".join(
        rng.choice(list("ACGTNacgtnXR-"), 200, p=[0.11] * 5 + [0.08] * 5 + [0.05 / 3] * 3)
    )
    expected = []
    for i in range(offset, len(text) - n + 1, step):
        word = text[i : i + n]
        if case == "corrected" or word == word.lower():
            word = word.upper()
        expected.append(nmer_vocabulary(n).get(word, UNK))
    assert nmer_ids(text, n, step=step, offset=offset, case=case).tolist() == expected
    assert UNK in expected


def test_mixed_case_is_unknown_in_the_reference_only() -> None:
    assert nmer_ids("aCgT", 2, case="reference").tolist() == [UNK, UNK]
    assert nmer_ids("aCgT", 2).tolist() == [7, 21]
    assert nmer_ids("A", 2).tolist() == []


@pytest.mark.parametrize("n", [1, 3, 6])
def test_fast_tokenizer_gives_the_same(n, rng, tmp_path) -> None:
    text = "".join(rng.choice(list("ACGTNacgtn"), 101))
    build_nmer_tokenizer(n).save_pretrained(tmp_path)
    beside = AutoTokenizer.from_pretrained(tmp_path)
    assert beside(text)["input_ids"] == [SOS, *nmer_ids(text, n).tolist(), EOS]
    overlapping = build_nmer_tokenizer(n, overlapping=True)
    expected = [SOS, *nmer_ids(text, n, step=1).tolist(), EOS]
    assert overlapping(seq2kmer(text, n))["input_ids"] == expected
    cut = beside(text, truncation=True, max_length=9)["input_ids"]
    assert cut == [SOS, *nmer_ids(text, n)[-7:].tolist(), EOS]
    assert len(beside) == nmer_vocab_size(n)


def test_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"n is 0, expected 1\.\.8"):
        nmer_ids("ACGT", 0)
    with pytest.raises(ValueError, match="step is 0 and offset 0, expected at least 1 and 0"):
        nmer_ids("ACGT", 2, step=0)
    with pytest.raises(ValueError, match="case is 'upper', expected one of: corrected, reference"):
        nmer_ids("ACGT", 2, case="upper")
