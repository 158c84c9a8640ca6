"""Token counts and TF-IDF: by hand, and against scikit-learn on the text of the tokens."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from genomelm_utils.baselines.token_counts import fit_token_counts

VOCABULARY = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "A", "▁", "▁A", "▁AC", "AC", "GGT", "T"]


def random_rows(rng, n: int = 40) -> list[np.ndarray]:
    """Rows of 0 to 11 ids of the vocabulary, special tokens among them."""
    return [rng.integers(0, len(VOCABULARY), rng.integers(0, 12)) for _ in range(n)]


def test_counts_by_hand():
    rows = [np.array([7, 9, 9]), np.array([10, 11])]  # A AC AC; GGT T
    counts = fit_token_counts(rows, VOCABULARY, method="cvec", ngrams=(1, 2))
    assert counts.names == ("A", "A AC", "AC", "AC AC", "GGT", "GGT T", "T")
    wanted = [[1, 1, 2, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert counts.transform(rows).toarray().tolist() == wanted
    # no n-gram across two rows, unseen ones are left out, the mark makes no other word
    new = [np.array([8]), np.array([9, 10]), np.array([], int)]
    assert counts.transform(new).toarray().tolist() == [
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 1, 0, 0],
        [0] * 7,
    ]


def test_the_released_way_drops_words_of_one_letter():
    rows = [np.array([7, 9, 10, 11, 2])]
    reference = fit_token_counts(rows, VOCABULARY, method="cvec", words="reference")
    assert reference.names == ("AC", "GGT", "unk")
    corrected = fit_token_counts(rows, VOCABULARY, method="cvec")
    assert corrected.names == ("A", "AC", "GGT", "T")


@pytest.mark.parametrize("method", ["tfidf", "cvec"])
@pytest.mark.parametrize("ngrams", [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("words", ["corrected", "reference"])
@pytest.mark.parametrize("max_features", [None, 4])
def test_the_same_as_scikit_learn(method, ngrams, words, max_features, rng):
    train, test = random_rows(rng), random_rows(rng)
    kind = TfidfVectorizer if method == "tfidf" else CountVectorizer
    if words == "reference":
        options, text = {}, " ".join
    else:
        keep = set(VOCABULARY[5:]) - {"▁"}
        options = {"analyzer": "word", "tokenizer": str.split, "token_pattern": None}

        def text(tokens):
            return " ".join(token.lstrip("▁") for token in tokens if token in keep)

    vectoriser = kind(lowercase=False, ngram_range=ngrams, **options)
    said = [[text([VOCABULARY[i] for i in row]) for row in rows] for rows in (train, test)]
    vectoriser.fit(said[0])
    ours = fit_token_counts(
        train, VOCABULARY, method=method, ngrams=ngrams, words=words, max_features=max_features
    )
    theirs = vectoriser.transform(said[1]).toarray()
    names = vectoriser.get_feature_names_out().tolist()
    if max_features is None:
        assert list(ours.names) == names
    else:
        assert len(ours.names) == 4
        vectoriser = kind(
            lowercase=False, ngram_range=ngrams, vocabulary=list(ours.names), **options
        ).fit(said[0])
        theirs = vectoriser.transform(said[1]).toarray()
        totals = CountVectorizer(lowercase=False, ngram_range=ngrams, **options).fit(said[0])
        count = totals.transform(said[0]).sum(0).A1
        kept = [names.index(name) for name in ours.names]
        assert min(count[kept]) >= max(np.delete(count, kept), default=0)
    np.testing.assert_allclose(ours.transform(test).toarray(), theirs, atol=1e-6)


def test_many_words_do_not_overflow(rng):
    """Keys of n-grams stay small whatever n and the vocabulary: they are renumbered at every n."""
    vocabulary = [f"w{i}" for i in range(30_000)]
    rows = [rng.integers(0, 30_000, 50) for _ in range(20)]
    counts = fit_token_counts(rows, vocabulary, method="cvec", ngrams=(6, 6))
    matrix = counts.transform(rows)
    assert matrix.shape == (20, 20 * 45)
    assert matrix.sum(1).A1.tolist() == [45] * 20
    assert len(counts.names[0].split()) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "bm25"}, "method is 'bm25'"),
        ({"words": "all"}, "words is 'all'"),
        ({"ngrams": (2, 1)}, "from 2 to 1"),
        ({"max_features": 0}, "max_features is 0"),
    ],
)
def test_wrong_options(change, said):
    with pytest.raises(ValueError, match=said):
        fit_token_counts([np.array([5])], VOCABULARY, **change)


def test_rows_that_do_not_fit():
    with pytest.raises(ValueError, match="expected 0 to 11"):
        fit_token_counts([np.array([12])], VOCABULARY)
    with pytest.raises(ValueError, match="no word"):
        fit_token_counts([np.array([3, 3])], VOCABULARY)
    with pytest.raises(ValueError, match="lower the n"):
        fit_token_counts([np.array([5])], VOCABULARY, ngrams=(2, 2))
    with pytest.raises(ValueError, match="at least one"):
        fit_token_counts([], VOCABULARY)


@pytest.mark.slow
def test_golden_features_of_the_promoters(data_dir):
    """19,199 tokens but for the mark: the mark alone, four letters, 19,194 longer words."""
    import gzip

    from genomelm_utils.sequences.letters import reverse_complement_text
    from genomelm_utils.tokenizers.unigram import train_unigram
    from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

    texts = []
    for name in ("promoter", "non_promoter"):
        with gzip.open(data_dir / f"classification/genomenlp/{name}.fasta.gz", "rt") as stream:
            records = stream.read().split(">")[1:]
        texts += ["".join(record.splitlines()[1:]).upper() for record in records]
    encoder = LetterEncoder(train_unigram(texts, 32_000, engine="tokenizers"))
    both = [text for one in texts for text in (one, reverse_complement_text(one))]
    ids, offsets = encoder.encode(both)
    rows = np.split(ids, offsets[1:-1])
    assert (len(rows), len(ids)) == (13_528, 173_005)
    assert len(fit_token_counts(rows, encoder.tokens, words="reference").names) == 19_194
    assert len(fit_token_counts(rows, encoder.tokens).names) == 19_194 + 4
    assert len({encoder.tokens[i].lstrip("▁") for i in set(ids.tolist())}) == 19_199
