"""Fast encoding gives what the tokenizer gives, for known letters, unknown ones and none."""

from itertools import pairwise

import numpy as np
import pytest

from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.unigram import make_layout, train_unigram, wrap_layout
from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder, TextEncoder


def rows_of(found):
    ids, offsets = found
    return [ids[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.mark.parametrize("letters", ["ACGT", "ACDEFGHIKLMNPQRSTVWY"])
def test_as_the_tokenizer_cuts(rng, letters):
    texts = ["".join(rng.choice(list(letters), n)) for n in rng.integers(1, 200, 100)]
    tokenizer = train_unigram(texts, 120)
    noisy = [*texts, "", "acgt", "ANNC", "NN", "N", "A", "", "ACGTBJOUXZ*"]
    noisy += ["".join(rng.choice(list(letters + "acX"), 50)) for _ in range(50)]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(noisy)]
    encoder = LetterEncoder(tokenizer)
    assert rows_of(encoder.encode(noisy)) == expected
    assert rows_of(TextEncoder(tokenizer).encode(noisy)) == expected
    assert encoder.tokens == tokenizer.convert_ids_to_tokens(range(120))


def test_tokens_longer_than_those_learned_here():
    word = "ACGT" * 100
    tokenizer = wrap_layout(make_layout([("▁", -1.0), (word, -2.0), ("A", -3.0), ("C", -3.5)]))
    texts = [word * 3, "A" + word, word[:-1]]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts)]
    assert rows_of(LetterEncoder(tokenizer).encode(texts)) == expected


def test_no_texts():
    ids, offsets = LetterEncoder(wrap_layout(make_layout([("A", -1.0)]))).encode([])
    assert (ids.tolist(), offsets.tolist()) == ([], [0])
    assert ids.dtype == np.int32


def test_what_is_refused():
    with pytest.raises(ValueError, match="not of genomeNLP's layout"):
        LetterEncoder(train_bpe(["ACGT" * 50], 12))
    encoder = LetterEncoder(wrap_layout(make_layout([("A", -1.0)])))
    with pytest.raises(ValueError, match="holds a space"):
        encoder.encode(["A A"])


def test_texts_with_spaces():
    tokenizer = wrap_layout(make_layout([("▁good", -1.0), ("▁", -2.0), ("s", -3.0)]))
    assert rows_of(TextEncoder(tokenizer).encode(["good goods", ""])) == [[5, 5, 7], []]
