"""Attention motifs: regions, the test, merging and windows by hand; a planted word is found."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.interpretation.attention_motifs import (
    align_ungapped,
    count_enrichment,
    find_attention_motifs,
    find_words,
    high_regions,
    make_windows,
    merge_words,
)
from genomelm_utils.sequences.alphabet import encode


def test_high_is_above_the_mean_and_ten_times_the_minimum():
    score = np.array([0.01, 1, 1, 1, 1, 1, 0.01, 1, 1, 0.01])
    assert high_regions([score], np.array([0])).to_numpy().tolist() == [[0, 1, 6]]
    flat = np.array([0.2, 1, 1, 1, 1, 1, 0.2])  # above the mean, but not ten times the minimum
    assert high_regions([flat], np.array([0])).empty
    assert len(high_regions([score], np.array([0]), min_len=2)) == 2


def test_words_are_found_at_any_length_and_counted_once_per_sequence():
    codes = [encode(one) for one in ("ACGTACGT", "TTTTT", "ACGTACGTTTTTTTTTTTTTTTTT")]
    words = ["ACGT", "TTTTT", "ACGTACGTTTTTTTTTT", "ANGT"]
    expected = [[word in text for text in ("ACGTACGT", "TTTTT", "ACGTACGTTTTTTTTTTTTTTTTT")]
                for word in words]  # fmt: skip
    assert find_words(words, codes).tolist() == expected


def test_the_hypergeometric_test_by_hand():
    codes = [encode(one) for one in ("AAC", "AAC", "GGG", "TTT")]
    table = count_enrichment(["AAC", "G"], codes, np.array([True, True, False, False]))
    row = table.set_index("word").loc["AAC"]
    assert (row["n_rows"], row["n_positive"]) == (2, 2)
    assert row["p_value"] == pytest.approx(1 / 6)  # both of two drawn from four are positive
    assert table.set_index("word").loc["G", "p_value"] == 1
    assert row["q_value"] == pytest.approx(2 / 6)


def test_alignment_without_gaps():
    assert align_ungapped("ACGTT", "CGTT") == (4, 1)
    assert align_ungapped("CGTT", "ACGTT") == (4, -1)


def test_words_that_overlap_are_merged_and_places_moved():
    regions = pd.DataFrame(
        [(0, 10, 15, "ACGTT"), (1, 20, 26, "GACGTT"), (2, 5, 10, "CCCCC")],
        columns=["sequence", "start", "end", "word"],
    )
    merged = merge_words(regions)
    assert sorted(merged) == ["ACGTT", "CCCCC"]
    assert merged["ACGTT"][["sequence", "start", "end"]].to_numpy().tolist() == [
        [0, 10, 15],
        [1, 21, 26],
    ]


def test_windows_at_the_end_are_dropped_by_the_reference_only():
    codes = [encode("A" * 20)]
    regions = pd.DataFrame(
        [(0, 12, 17, "AAAAA"), (0, 2, 7, "AAAAA"), (0, 0, 5, "AAAAA")],
        columns=["sequence", "start", "end", "word"],
    )
    assert make_windows(regions, codes, 10)["start"].tolist() == [10, 0]
    assert make_windows(regions, codes, 10, "reference")["start"].tolist() == [0]


def planted_scores(rng, n=40, length=40, word="TGAGTCA"):
    """Sequences with the word in the positive half, and scores that are high on it."""
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    scores = np.full((n, length), 0.001)
    labels = np.arange(n) % 2
    for s in np.flatnonzero(labels):
        start = int(rng.integers(8, length - 16))
        codes[s, start : start + len(word)] = encode(word)
        scores[s, start : start + len(word)] = 1
    return list(codes), labels, list(scores)


def test_a_planted_word_is_found_with_its_windows(rng):
    codes, labels, scores = planted_scores(rng)
    motifs, tested = find_attention_motifs(codes, labels, scores, window_bp=11)
    assert motifs[0].word == "TGAGTCA" and len(motifs[0].windows) == 20
    assert motifs[0].counts.shape == (11, 4)
    assert motifs[0].counts[2:9].argmax(1).tolist() == encode("TGAGTCA").tolist()
    assert (motifs[0].counts[2:9].max(1) == 20).all()
    assert tested["word"].iloc[0] == "TGAGTCA" and motifs[0].q_value < 1e-6


def test_scores_without_signal_give_no_motif(rng):
    codes = list(rng.integers(0, 4, (40, 40)).astype(np.uint8))
    scores = list(rng.random((40, 40)) ** 8)
    motifs, _ = find_attention_motifs(codes, np.arange(40) % 2, scores)
    assert motifs == []


def test_bad_input_is_named(rng):
    codes, labels, scores = planted_scores(rng, n=4)
    with pytest.raises(ValueError, match="sequence 1 has 40 bases and 39 scores"):
        find_attention_motifs(codes, labels, [scores[0], scores[1][1:], *scores[2:]])
    with pytest.raises(ValueError, match="4 of 4 sequences have label 1"):
        find_attention_motifs(codes, [1] * 4, scores)
    with pytest.raises(ValueError, match="rule is 'x'"):
        find_attention_motifs(codes, labels, scores, rule="x")
    with pytest.raises(ValueError, match="min_len is 5, window_bp 3"):
        find_attention_motifs(codes, labels, scores, window_bp=3)
    with pytest.raises(ValueError, match="expected as many of each"):
        find_attention_motifs(codes, labels[:2], scores)
