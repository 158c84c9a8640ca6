"""k-mer bags of promoters against text search and naive loops; planted words are found."""

import numpy as np
import pytest

from genomelm_utils.baselines import kmer_ridge
from genomelm_utils.baselines.kmer_ridge import (
    BIN_ENDS_BP,
    KmerFeatures,
    encode_promoters,
    fit_kmer_linear,
    fit_kmer_ridge,
    reference_counts,
    reference_words,
)
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.kmers import kmer_strings


def make_texts(rng, n=6, longest=60, letters="ACGTN", p=(0.24, 0.24, 0.24, 0.24, 0.04)):
    return ["".join(rng.choice(list(letters), rng.integers(1, longest), p=p)) for _ in range(n)]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_reference_counts_are_those_of_a_text_search(rng, k):
    texts = [*make_texts(rng), "AAAAAAA", "ATATATA", "NNNNN", "ACGTRACGT"]
    found = reference_counts([encode(text) for text in texts], k)
    assert found.tolist() == [[text.count(word) for word in reference_words(k)] for text in texts]


def test_golden_counts_of_aa_and_golden_sizes():
    codes = encode_promoters(["AAAA"])
    assert reference_counts(codes, 2)[0, reference_words(2).index("AA")] == 2
    overlapping = KmerFeatures((2,))
    assert overlapping.rows(codes)[0, overlapping.names().index("AA")] == 3
    sizes = [KmerFeatures((k,), "reference").rows(codes).shape[1] for k in range(2, 6)]
    assert sizes == [25, 125, 625, 3125]


def test_reference_words_are_in_the_published_order():
    assert reference_words(1) == ["A", "T", "C", "G", "N"]
    assert reference_words(2)[:6] == ["AA", "AT", "AC", "AG", "AN", "TA"]


@pytest.mark.parametrize("counts", ["overlapping", "reference"])
def test_several_lengths_stand_beside_each_other(rng, counts):
    codes = encode_promoters(make_texts(rng))
    together = KmerFeatures((1, 3), counts)
    apart = [KmerFeatures((k,), counts) for k in (1, 3)]
    assert (together.rows(codes) == np.hstack([one.rows(codes) for one in apart])).all()
    assert together.names() == apart[0].names() + apart[1].names()


@pytest.mark.parametrize("ends", [(), (10, 30)])
def test_blocks_are_the_rows_and_predict_the_same(rng, ends, monkeypatch):
    codes = encode_promoters(make_texts(rng, n=40))
    gaps = np.arange(40) % 7
    features = KmerFeatures((1, 2), bin_ends_bp=ends)
    rows = features.rows(codes, gaps)
    model = fit_kmer_ridge(
        codes, rng.normal(size=(40, 2)), np.arange(40), features, seed=1, gap_bp=gaps
    )
    whole = model.predict(codes, gaps)
    monkeypatch.setattr(kmer_ridge, "BLOCK_PROMOTERS", 7)
    assert [len(block) for block in features.blocks(codes, gaps)] == [7] * 5 + [5]
    assert np.array_equal(features.rows(codes, gaps), rows)
    assert rows.shape[1] == features.n_features == len(features.names())
    assert np.allclose(model.predict(codes, gaps), whole, atol=1e-6)


def test_rows_that_do_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(kmer_ridge, "_memory_bytes", lambda: 1024)
    with pytest.raises(ValueError, match="take shorter words than 6, fewer promoters"):
        KmerFeatures((6,)).rows(encode_promoters(["ACGTACGT"]))


@pytest.mark.parametrize("k", [1, 3])
def test_bins_count_words_by_the_distance_of_their_last_base(rng, k):
    texts, gaps = make_texts(rng, n=8), np.array([0, 5, 100, 0, 3, -6, 0, 12])
    features = KmerFeatures((k,), bin_ends_bp=(10, 30))
    found = features.rows(encode_promoters(texts), gaps)
    expected = np.zeros_like(found)
    words = kmer_strings(k)
    for s, (text, gap) in enumerate(zip(texts, gaps, strict=True)):
        for start in range(len(text) - k + 1):
            if text[start : start + k] in words:
                upstream = len(text) - (start + k - 1) + gap
                column = [10, 30, 10**9].index(next(e for e in (10, 30, 10**9) if upstream <= e))
                expected[s, column * 4**k + words.index(text[start : start + k])] += 1
    assert (found == expected).all()
    assert features.names()[0] == f"{'A' * k} 0-10"
    assert features.names()[-1] == f"{'T' * k} 30-"
    by_bin = found.reshape(len(texts), 3, -1)
    assert (by_bin.sum(1) == KmerFeatures((k,)).rows(encode_promoters(texts))).all()


def test_ridge_finds_a_planted_word_and_its_bin(rng):
    codes = rng.integers(0, 4, (700, 150)).astype(np.uint8)
    has = rng.random(700) < 0.5
    motif = "GCTATAAAAGGC"
    codes[has, 100:112] = encode(motif)  # 39 to 50 bases upstream of the TSS
    labels = np.stack([2.0 * has, -1.0 * has], axis=1) + 0.3 * rng.normal(size=(700, 2))
    labels[::7, 1] = np.nan
    features = KmerFeatures((4,), bin_ends_bp=BIN_ENDS_BP)
    train, test = slice(0, 600), slice(600, None)
    model = fit_kmer_ridge(list(codes[train]), labels[train], np.arange(600), features, 0)
    predicted = model.predict(list(codes[test]))
    assert predicted.shape == (100, 2)
    assert np.corrcoef(predicted[:, 0], 2.0 * has[test])[0, 1] ** 2 > 0.5
    heaviest = np.argmax(np.abs(model.fit.weights_FT), axis=0)
    for word, place in (features.names()[f].split() for f in heaviest):
        assert word in motif
        assert place == "0-100"


def test_linear_on_reference_counts_goes_through_its_rows(rng):
    codes = encode_promoters(make_texts(rng, n=12, longest=200))
    labels = rng.normal(size=(12, 2))
    model = fit_kmer_linear(codes, labels, KmerFeatures((3,), "reference"))
    assert model.predict(codes) == pytest.approx(labels, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"counts": "both"}, "counts is 'both', expected one of overlapping, reference"),
        ({"ks": (0, 2)}, r"ks is \(0, 2\)"),
        ({"ks": (7,)}, r"from 1 to 6"),
        ({"bin_ends_bp": (100, 100)}, "expected rising numbers above 0"),
        ({"bin_ends_bp": (100,), "counts": "reference"}, "know no positions"),
    ],
)
def test_bad_settings_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        KmerFeatures(**settings)


def test_bad_promoters_are_told():
    with pytest.raises(ValueError, match=r"promoter 1: found '-' \(an alignment gap"):
        encode_promoters(["ACGT", "AC-T"])
    with pytest.raises(ValueError, match=r"sequence 0 \(0-based\) is no array"):
        reference_counts(["ACGT"], 2)
    with pytest.raises(ValueError, match="there is no sequence"):
        reference_counts([], 2)
    with pytest.raises(ValueError, match="gap_bp has shape"):
        KmerFeatures((1,), bin_ends_bp=(5,)).rows(encode_promoters(["ACGT"]), [1, 2])
