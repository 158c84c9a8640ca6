"""word2vec of tokens: really trained, the same twice; vectors of sequences."""

import numpy as np
import pytest

from genomelm_utils.baselines.word2vec import (
    TokenSentences,
    TokenVectors,
    cut_kmers,
    keep_frequent,
    load_word2vec,
    sequence_vectors,
    token_table,
    token_vectors,
    train_word2vec,
)

pytest.importorskip("gensim", reason="needs gensim")
OPTIONS = {"vector_size": 12, "window": 3, "epochs": 3, "sample": 0}


def two_topics(rng, n: int = 60) -> list[list[str]]:
    """Sentences of words that occur together: a0..a4 or b0..b4, never both."""
    return [
        [f"{'ab'[i % 2]}{j}" for j in rng.integers(0, 5, rng.integers(6, 12))] for i in range(n)
    ]


def topic_gap(vectors: TokenVectors) -> float:
    """Mean cosine of words of one topic minus that of words of two."""
    unit = vectors.vectors_VD / np.linalg.norm(vectors.vectors_VD, axis=1, keepdims=True)
    same = np.array([[a[0] == b[0] for a in vectors.tokens] for b in vectors.tokens])
    cosine = unit @ unit.T
    apart = ~np.eye(len(unit), dtype=bool)
    return float(cosine[same & apart].mean() - cosine[~same].mean())


def test_training_moves_words_of_one_topic_together(rng):
    sentences = two_topics(rng)
    trained = token_vectors(train_word2vec(sentences, **OPTIONS | {"epochs": 40}))
    assert topic_gap(trained) > 0.5
    assert trained.counts_V.sum() == sum(map(len, sentences))


def test_the_released_way_never_trains(rng):
    """Its vectors are the random start: what no epoch at all gives, whatever the sentences are."""
    from gensim.models import Word2Vec

    sentences = two_topics(rng)
    reference = train_word2vec(sentences, **OPTIONS | {"epochs": 40}, corpus="reference")
    untrained = Word2Vec(vector_size=12, window=3, min_count=1, sg=1, seed=1, workers=1, sample=0)
    untrained.build_vocab(sentences)
    np.testing.assert_array_equal(reference.wv.vectors, untrained.wv.vectors)
    corrected = train_word2vec(sentences, **OPTIONS)
    assert not np.array_equal(corrected.wv.vectors, untrained.wv.vectors)
    assert abs(topic_gap(token_vectors(reference))) < 0.3


def test_the_same_seed_the_same_vectors(rng):
    sentences = two_topics(rng, 20)
    first = train_word2vec(sentences, **OPTIONS, seed=5).wv.vectors
    np.testing.assert_array_equal(first, train_word2vec(sentences, **OPTIONS, seed=5).wv.vectors)
    assert not np.array_equal(first, train_word2vec(sentences, **OPTIONS, seed=6).wv.vectors)


def test_ids_are_read_as_sentences_again_and_again(rng):
    vocabulary = ["<unk>", "▁AC", "GT"]
    rows = TokenSentences([np.array([1, 2, 2]), np.array([2], dtype=np.int32)], vocabulary)
    assert list(rows) == [["▁AC", "GT", "GT"], ["GT"]] == list(rows)
    assert (len(rows), rows[1]) == (2, ["GT"])
    model = train_word2vec(rows, **OPTIONS)
    np.testing.assert_array_equal(
        model.wv.vectors, train_word2vec(list(rows), **OPTIONS).wv.vectors
    )


def test_a_model_is_saved_read_and_trained_further(rng, tmp_path):
    sentences = two_topics(rng, 20)
    model = train_word2vec(sentences, **OPTIONS)
    model.save(str(tmp_path / "kmers.model"))
    again = load_word2vec(tmp_path / "kmers.model")
    np.testing.assert_array_equal(again.wv.vectors, model.wv.vectors)
    more = train_word2vec([["c0", "a0", "c0"]] * 3, start=again, **OPTIONS)
    assert "c0" in more.wv and len(more.wv) == len(model.wv) + 1
    assert not np.array_equal(more.wv["a0"], model.wv["a0"])
    (tmp_path / "other.model").write_text("no model")
    with pytest.raises(ValueError, match="no word2vec model"):
        load_word2vec(tmp_path / "other.model")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_word2vec(tmp_path / "absent.model")


VECTORS = TokenVectors(("x", "y"), np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.array([3, 1]))


def test_sequence_vectors_by_hand():
    rows = [["x", "x", "y"], ["y", "unseen"], ["unseen"], []]
    mean = sequence_vectors(VECTORS, rows)
    np.testing.assert_allclose(mean, [[2 / 3, 2 / 3], [0, 2], [0, 0], [0, 0]], rtol=1e-6)
    x, y = np.log(5 / 2) + 1, np.log(5 / 3) + 1
    tfidf = sequence_vectors(VECTORS, rows, weighting="tfidf")
    np.testing.assert_allclose(tfidf[:2], [[2 * x / 3, 2 * y / 3], [0, 2 * y]], rtol=1e-6)


def test_sif_takes_away_the_direction_of_the_training_rows():
    train = [["x"], ["x", "x"]]
    sif = sequence_vectors(VECTORS, [["x", "y"], ["x"]], weighting="sif", train=train)
    weight = 1e-3 / (1e-3 + 1 / 4)
    np.testing.assert_allclose(sif, [[0, weight], [0, 0]], atol=1e-7)


def test_released_layout_has_a_row_per_token():
    labels, tokens, vectors = token_table(VECTORS, [["x", "y", "unseen"], ["x"]], [1, 0])
    assert labels.tolist() == [1, 1, 0]
    assert tokens.tolist() == ["x", "y", "x"]
    np.testing.assert_array_equal(vectors, [[1, 0], [0, 2], [1, 0]])


def test_kmers_are_cut_by_hand():
    assert cut_kmers("ACGTTG", 3) == ["ACG", "CGT", "GTT", "TTG"]
    assert cut_kmers("ACGTTG", 3, 3) == ["ACG", "TTG"]
    assert cut_kmers("ACGTT", 3, 3) == ["ACG"]
    assert cut_kmers("AC", 3) == []
    with pytest.raises(ValueError, match="k is 0"):
        cut_kmers("AC", 0)


def test_only_frequent_words_are_kept():
    rows = [["a", "b", "a"], ["c", "b", "a"]]
    assert keep_frequent(rows, 2) == [["a", "b", "a"], ["b", "a"]]
    assert keep_frequent(rows, 0) == rows
    with pytest.raises(ValueError, match="size is -1"):
        keep_frequent(rows, -1)


def test_wrong_requests():
    with pytest.raises(ValueError, match="lower min_count"):
        train_word2vec([["a"], ["b"]], min_count=2)
    with pytest.raises(ValueError, match="no token"):
        train_word2vec([[]])
    with pytest.raises(ValueError, match="corpus is 'both'"):
        train_word2vec([["a"]], corpus="both")
    with pytest.raises(ValueError, match="weighting is 'max'"):
        sequence_vectors(VECTORS, [["x"]], weighting="max")
