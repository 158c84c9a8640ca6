"""Keys of sequences and words, against sets of strings."""

import numpy as np

from genomelm_utils.datasets import identity
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement


def other_strand(text: str) -> str:
    return decode(reverse_complement(encode(text)))


def canonical(text: str) -> str:
    return min(text, other_strand(text))


def test_keys_are_equal_for_equal_sequences_only(rng):
    texts = ["".join(rng.choice(list("ACGT"), rng.integers(1, 5))) for _ in range(300)]
    codes = [encode(text) for text in texts]
    forward = identity.sequence_keys(codes, both_strands=False)
    either = identity.sequence_keys(codes)
    for keys, values in ((forward, texts), (either, [canonical(text) for text in texts])):
        assert len(set(keys.tolist())) == len(set(values))
        assert len({*zip(keys.tolist(), values, strict=True)}) == len(set(values))
        assert identity.count_repeats(keys) == len(texts) - len(set(values))
        first = identity.is_first(keys)
        assert first.sum() == len(set(values))
        assert first[0]


def test_ragged_and_matrix_agree(rng):
    codes = rng.integers(0, 15, (50, 70), dtype=np.uint8)
    assert (identity.sequence_keys(codes) == identity.sequence_keys(list(codes))).all()
    flipped = codes[:, ::-1].copy()
    assert (
        identity.sequence_keys(reverse_complement(codes)) == identity.sequence_keys(codes)
    ).all()
    assert (identity.sequence_keys(flipped) != identity.sequence_keys(codes)).all()


def test_words_are_the_canonical_30mers(rng):
    text = "".join(rng.choice(list("ACGT"), 100))
    text = text[:50] + "N" + text[51:]
    shorter = text[20:55]
    keys = identity.word_keys([encode(text), encode(shorter), encode(other_strand(text))])
    assert keys.shape == (3, 71)
    word = {}
    for i in range(71):
        piece = text[i : i + 30]
        if "N" in piece:
            assert keys[0, i] == identity.NO_WORD
        else:
            assert word.setdefault(canonical(piece), keys[0, i]) == keys[0, i]
    assert len(set(word.values())) == len(word)
    assert keys[1, 0] == keys[0, 20]
    assert (keys[1, 1:] == identity.NO_WORD).all()  # holds the N, or reaches over the end
    assert (keys[2, ::-1] == keys[0]).all()
    assert identity.word_keys(encode("ACGT")[None]).shape == (1, 0)


def test_is_among(rng):
    values = rng.integers(0, 50, (20, 7))
    some = np.unique(rng.integers(0, 60, 15))
    assert (identity.is_among(values, some) == np.isin(values, some)).all()
    assert not identity.is_among(values, some[:0]).any()
    assert (identity.distinct(values) == np.unique(values)).all()
