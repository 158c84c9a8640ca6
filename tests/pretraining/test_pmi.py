"""PMI and rankings: by brute force over segmentations, and the published file's golden facts."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.pretraining.ngrams import count_ngrams, infer_ngrams
from genomelm_utils.pretraining.pmi import (
    PUBLISHED_P1,
    PUBLISHED_P2,
    frequency_discount,
    npmi,
    pmi,
    rank_table,
    ranking,
    read_published_ranking,
    recover_counts,
    reference_scores,
    segmentation_table,
    segmentations,
)
from genomelm_utils.pretraining.ranking_agreement import compare_rankings
from genomelm_utils.sequences.alphabet import definite_runs, encode
from genomelm_utils.sequences.kmers import kmer_index, kmer_string, kmer_strings, revcomp_codes

# Golden facts 1 and 2 of the published ranking, and of the count hidden in it (fact 4).
TOP_20 = {
    "CCTCCC": 2.103076, "GGGAGG": 2.093004, "GTGTGT": 2.042932, "CCCAGC": 2.026842,
    "GCTGGG": 2.023631, "ACACAC": 2.020447, "AAAAAA": 2.001555, "TTTTTT": 1.993253,
    "CCAGGC": 1.983692, "GCCTGG": 1.982641, "GCCTCC": 1.971008, "GGAGGC": 1.966077,
    "CAGCCT": 1.950985, "AGGCTG": 1.948661, "TATATA": 1.908807, "CCCAGG": 1.854911,
    "CCTGGG": 1.851148, "TCCCAG": 1.838363, "GCCCAG": 1.830587, "CTGGGC": 1.828868,
}  # fmt: skip
RANKS = {
    "AAAAAA": 7, "TTTTTT": 8, "TATATA": 15, "CCCGCC": 103, "GGCGGG": 110, "TATAAA": 242,
    "GATTAC": 1388, "GGGGGG": 1802, "CACGTG": 2222, "CGCGCG": 3238, "CCGCGG": 3788,
    "CGCGTA": 4091, "TCGCGA": 4096,
}  # fmt: skip
COUNTS = {"TCGCGA": 2947, "CCTCCC": 446_610, "AAAAAA": 2_233_290}
# Bases and one word of GRCh38 chromosomes 1 to 3, the corpus of the published file (fact 5).
CHR1_TO_3 = {
    "A": 198_550_581, "C": 135_606_706, "G": 135_906_690, "T": 199_065_398, "ATA": 13_926_219,
}  # fmt: skip


@pytest.fixture(scope="module")
def published(data_dir) -> pd.DataFrame:
    return read_published_ranking(data_dir / "pmi/genemask/Data-A_norm-pmi-score-ranking.csv.gz")


@pytest.fixture(scope="module")
def word_counts(published) -> np.ndarray:
    return recover_counts(published)


def count_text(text: str, n_max: int):
    codes = encode(text)
    return count_ngrams(codes, definite_runs(codes), n_max)


def biased_text(rng: np.random.Generator, length: int) -> str:
    """Bases that depend on the one before, so that words differ in PMI; a few N."""
    table = rng.dirichlet(np.ones(4), size=4)
    bases = [0]
    for _ in range(length - 1):
        bases.append(int(rng.choice(4, p=table[bases[-1]])))
    text = np.array(list("ACGT"))[bases]
    text[rng.random(length) < 0.005] = "N"
    return "".join(text)


def probability(counts, word: str) -> float:
    n = len(word)
    words = kmer_strings(n)
    table = dict(zip(words, counts.counts[n].tolist(), strict=True))
    return table[word] / sum(table.values())


def pmi_naively(counts, word: str) -> float:
    """The definition, segmentation by segmentation, sharing nothing with the module but counts."""
    k, scores = len(word), []
    for n_cuts in range(1, k):
        for cuts in combinations(range(1, k), n_cuts):
            pieces = [word[i:j] for i, j in pairwise((0, *cuts, k))]
            product = np.prod([probability(counts, piece) for piece in pieces])
            scores.append(np.log(probability(counts, word) / product))
    return min(scores)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_pmi_equals_all_segmentations_enumerated(rng, k):
    counts = count_text(biased_text(rng, 3000), k)
    found = pmi(counts, k)
    seen = np.flatnonzero(counts.counts[k])
    assert np.isnan(found[counts.counts[k] == 0]).all()
    for code in rng.choice(seen, size=min(60, len(seen)), replace=False):
        np.testing.assert_allclose(found[code], pmi_naively(counts, kmer_string(code, k)))


def test_pmi_of_six_bases_equals_enumeration(rng):
    counts = count_text(biased_text(rng, 20_000), 6)
    found = pmi(counts, 6)
    for code in rng.choice(np.flatnonzero(counts.counts[6]), size=12, replace=False):
        np.testing.assert_allclose(found[code], pmi_naively(counts, kmer_string(code, 6)))


def test_pmi_by_hand():
    """ACACAC: p(A) = p(C) = 1/2, p(AC) = 3/5, p(CA) = 2/5."""
    found = pmi(count_text("ACACAC", 2), 2)
    np.testing.assert_allclose(found[kmer_index("AC")], np.log(0.6 / 0.25))
    np.testing.assert_allclose(found[kmer_index("CA")], np.log(0.4 / 0.25))
    assert np.isnan(found[kmer_index("AA")])


def test_words_of_independent_bases_have_no_information(rng):
    """In a long random sequence every PMI is close to zero, and never much above."""
    counts = count_text("".join(rng.choice(list("ACGT"), size=400_000)), 4)
    assert np.abs(pmi(counts, 4)).max() < 0.15


def test_both_strands_make_scores_symmetric(rng):
    counts = count_text(biased_text(rng, 5000), 5).merge_strands()
    scores = npmi(counts, 5)
    np.testing.assert_allclose(scores, scores[revcomp_codes(5)], rtol=0, atol=1e-12)


def test_discount():
    assert frequency_discount(np.array([1]))[0] == 0
    assert np.isnan(frequency_discount(np.array([0]))[0])
    np.testing.assert_allclose(frequency_discount(np.array([101]))[0], 0.5)
    np.testing.assert_allclose(frequency_discount(np.array([2947]))[0], 0.633827, atol=1e-6)
    with pytest.raises(ValueError, match="discount_count is 1, expected above 1"):
        frequency_discount(np.array([5]), 1)


@pytest.mark.parametrize("mode", ["corrected", "reference"])
def test_ranking_is_ordered_and_complete(rng, mode, caplog):
    counts = count_text(biased_text(rng, 6000), 4)
    with caplog.at_level("INFO"):
        table = ranking(counts, 4, mode=mode)
    enough = 10 if mode == "reference" else 1
    assert set(table["ngram"]) == {
        w for w, c in zip(kmer_strings(4), counts.counts[4], strict=True) if c >= enough
    }
    assert (table["norm_dp_true_pmi"].diff().dropna() <= 0).all()
    assert table["norm_pmi_rank_rel"].tolist() == list(range(1, len(table) + 1))
    assert table.attrs["n_not_ranked"] == 256 - len(table) > 0
    assert f"{256 - len(table)} of 256 4-mers" in caplog.text
    assert table["count"].tolist() == [counts.counts[4][kmer_index(w)] for w in table["ngram"]]


def test_ranking_corrected_holds_npmi(rng):
    counts = count_text(biased_text(rng, 6000), 4)
    table = ranking(counts, 4, min_count=20).set_index("ngram")
    codes = [kmer_index(word) for word in table.index]
    np.testing.assert_array_equal(table["norm_dp_true_pmi"], npmi(counts, 4)[codes])
    np.testing.assert_array_equal(table["true.pmi"], table["dp.true.pmi"])
    assert (table["naive.pmi"] >= table["dp.true.pmi"]).all()
    assert table["count"].min() >= 20


def test_ranking_reference_has_the_defects_and_only_those(rng):
    """Scores by formula from floored counts, half probabilities, short pieces, cuts 1 to k - 2."""
    counts = count_text(biased_text(rng, 30_000), 5)

    def log_p(word: str) -> float:
        table = counts.counts[len(word)] // 10
        return np.log(table[kmer_index(word)] / (2 * table.sum()))

    table = ranking(counts, 5, mode="reference").set_index("ngram")
    for word in rng.choice(table.index.to_numpy(), size=25, replace=False):
        row = table.loc[word]
        short = [
            "".join(p) for p in segmentation_table(counts, word, mode="reference")["segmentation"]
        ]
        best = max(sum(log_p(piece) for piece in pieces.split("|")) for pieces in short)
        assert all(len(piece) <= 2 for pieces in short for piece in pieces.split("|"))
        two = max(log_p(word[:cut]) + log_p(word[cut:]) for cut in (1, 2, 3))
        np.testing.assert_allclose(row["dp.true.pmi"], log_p(word) - best)
        np.testing.assert_allclose(row["true.pmi"], log_p(word) - two)
        np.testing.assert_allclose(row["naive.pmi"], log_p(word) - sum(map(log_p, word)))


def test_reverse_complements_share_a_merged_rank(rng):
    counts = count_text(biased_text(rng, 6000), 4)
    table = ranking(counts, 4)
    merged = dict(zip(table["ngram"], table["rank_revcomp_merged"], strict=True))
    partner = {w: kmer_string(revcomp_codes(4)[kmer_index(w)], 4) for w in merged}
    assert all(merged[partner[w]] == merged[w] for w in merged if partner[w] in merged)
    assert sorted(set(merged.values())) == list(range(1, len(set(merged.values())) + 1))
    assert len(set(merged.values())) == len({min(w, partner[w]) for w in merged})
    scores = npmi(counts.merge_strands(), 4)
    ordered = sorted(merged, key=lambda w: merged[w])
    by_rank = [scores[kmer_index(w)] for w in ordered]
    assert all(a >= b - 1e-12 for a, b in pairwise(by_rank))


def test_rank_table_puts_unknown_words_last():
    table = pd.DataFrame({"ngram": ["CA", "AC"], "norm_pmi_rank_rel": [1, 2]})
    ranks = rank_table(table, 2)
    assert ranks.dtype == np.int32
    assert (ranks[kmer_index("CA")], ranks[kmer_index("AC")]) == (1, 2)
    assert (np.delete(ranks, [kmer_index("CA"), kmer_index("AC")]) == 3).all()
    with pytest.raises(ValueError, match=r"ngrams of \[2\] bases, expected all of 6"):
        rank_table(table, 6)


def test_segmentation_table_shows_where_the_minimum_lies(rng):
    counts = count_text(biased_text(rng, 20_000), 6)
    word = kmer_string(int(np.argmax(counts.counts[6])), 6)
    table = segmentation_table(counts, word.lower())
    assert len(table) == 31
    assert all(text.replace("|", "") == word for text in table["segmentation"])
    assert (table["n_pieces"] == table["segmentation"].str.count(r"\|") + 1).all()
    np.testing.assert_allclose(table["pmi"].iloc[0], pmi(counts, 6)[kmer_index(word)])
    assert table["pmi"].is_monotonic_increasing


def test_compare_rankings(rng):
    words = kmer_strings(4)
    a = pd.DataFrame({"ngram": words, "norm_pmi_rank_rel": np.arange(1, 257)})
    shuffled = a.assign(norm_pmi_rank_rel=rng.permutation(256) + 1)
    same = compare_rankings(a, a, (10, 50), n_resamples=50).set_index("measure")
    assert same["value"].tolist() == pytest.approx([1, 1, 1])
    assert same[["ci_low", "ci_high"]].to_numpy() == pytest.approx(1)
    opposite = a.assign(norm_pmi_rank_rel=257 - a["norm_pmi_rank_rel"])
    found = compare_rankings(a, opposite, (10,), n_resamples=50)["value"]
    assert found.tolist() == pytest.approx([-1, 0])
    table = compare_rankings(a, shuffled, (100,), n_resamples=400, seed=3).set_index("measure")
    expected = a["norm_pmi_rank_rel"].corr(shuffled["norm_pmi_rank_rel"])
    assert table.loc["spearman", "value"] == pytest.approx(expected)
    shared = set(a["ngram"][:100]) & {words[i] for i in np.argsort(shuffled.iloc[:, 1])[:100]}
    assert table.loc["overlap_top_100", "value"] == len(shared) / 100
    assert (table["ci_low"] <= table["value"]).all() and (table["value"] <= table["ci_high"]).all()
    spread = table.loc["spearman", "ci_high"] - table.loc["spearman", "ci_low"]
    assert spread == pytest.approx(2 * 1.96 / np.sqrt(256), rel=0.25)  # of independent words
    with pytest.raises(ValueError, match="256 words are in both rankings, expected at least 300"):
        compare_rankings(a, a, (300,))


# --- golden facts of the published file ------------------------------------------------------


def test_fact_1_top_20(published, word_counts):
    assert published["ngram"][:20].tolist() == list(TOP_20)
    scores = reference_scores(word_counts).set_index("ngram")["norm_dp_true_pmi"]
    top = scores.sort_values(ascending=False)[:20]
    assert top.round(6).to_dict() == TOP_20
    assert list(top.index) == list(TOP_20)


def test_fact_2_ranks(published):
    ranks = rank_table(published, 6)
    assert {word: ranks[kmer_index(word)] for word in RANKS} == RANKS
    assert np.array_equal(np.sort(ranks), np.arange(1, 4097))


def test_fact_3_reference_scores_reproduce_the_published_columns(published, word_counts):
    scores = reference_scores(word_counts).set_index("ngram").loc[published["ngram"]]
    for column in ("naive.pmi", "dp.true.pmi", "norm_dp_true_pmi"):
        np.testing.assert_allclose(
            scores[column], published[column].to_numpy(), rtol=0, atol=1e-12, err_msg=column
        )


def test_fact_4_recovered_counts(word_counts):
    assert {word: word_counts[kmer_index(word)] for word in COUNTS} == COUNTS
    assert kmer_string(int(word_counts.argmax()), 6) == "TTTTTT"
    assert kmer_string(int(word_counts.argmin()), 6) == "CGCGTA"
    assert (word_counts.max(), word_counts.min()) == (2_252_685, 2_258)
    assert (word_counts.sum(), (word_counts // 10).sum()) == (669_128_271, 66_910_978)


def test_fact_5_the_corpus_is_chromosomes_1_to_3(word_counts):
    """The chromosomes are not at hand, so their base counts cannot be made again here.

    What can be checked: every base and every ATA heads one counted 6-mer, but for the few before a
    run's end. The 6-mers lack 1,104 bases of the chromosomes; no base and no word lacks more.
    """
    lower = infer_ngrams(word_counts)
    n_lost = sum(CHR1_TO_3[base] for base in "ACGT") - int(word_counts.sum())
    assert n_lost == 1_104
    lost = {
        word: n - int(lower.counts[len(word)][kmer_index(word)]) for word, n in CHR1_TO_3.items()
    }
    assert all(0 <= n <= n_lost for n in lost.values()), lost
    assert sum(lost[base] for base in "ACGT") == n_lost


def test_fact_6_probability_of_at():
    assert np.log(PUBLISHED_P2[kmer_index("AT")]) == pytest.approx(-3.248176839782861, abs=1e-15)
    for probabilities in (PUBLISHED_P1, PUBLISHED_P2):
        assert probabilities.sum() == pytest.approx(0.5, abs=1e-15)


def test_fact_7_segmentations(word_counts):
    assert len(segmentations(6)) == 31
    short = segmentations(6, max_piece=2)
    assert len(short) == 13
    log_p = {1: np.log(PUBLISHED_P1), 2: np.log(PUBLISHED_P2)}
    sums = []
    for lengths in short:
        total = np.zeros(1)
        for n in lengths:
            total = np.add.outer(total, log_p[n]).ravel()
        sums.append(total)
    n_pieces = np.array([len(lengths) for lengths in short])[np.argmax(sums, axis=0)]
    assert dict(zip(*np.unique(n_pieces, return_counts=True), strict=True)) == {3: 3309, 4: 787}


def test_fact_8_sign_of_the_order(published):
    assert published["norm_pmi_rank_rel"].tolist() == list(range(1, 4097))
    assert (published["norm_dp_true_pmi"].diff().dropna() < 0).all()
    assert (published["norm_dp_true_pmi"] > 0).sum() == 3560


def test_corrected_mode_on_the_published_counts(published, word_counts):
    """The same counts without the defects, and how far that is from the file (spec of the file)."""
    table = ranking(infer_ngrams(word_counts), 6)
    scores = table.set_index("ngram")["norm_dp_true_pmi"].round(4)
    top = {"CCTCCC": 0.5245, "GGGAGG": 0.5211, "TGTGTG": 0.4251, "CCAGCC": 0.4147, "GGCTGG": 0.4115}
    assert list(scores.index[:5]) == list(top)
    assert scores[:5].to_dict() == top
    assert scores.index[-1] == "CGCGTA"
    assert scores.iloc[-1] == pytest.approx(-2.385, abs=5e-4)
    agreement = compare_rankings(table, published, n_resamples=20).set_index("measure")["value"]
    assert round(agreement["spearman"], 3) == 0.888
    assert agreement["overlap_top_100"] == 0.59


def test_reference_mode_on_the_published_counts_is_close_to_the_file(published, word_counts):
    """Other counts of one and two bases than the file's: dp within 0.001, ranks within 4."""
    table = ranking(infer_ngrams(word_counts), 6, mode="reference").set_index("ngram")
    table = table.loc[published["ngram"]]
    off = np.abs(table["dp.true.pmi"].to_numpy() - published["dp.true.pmi"].to_numpy())
    assert off.max() < 0.001
    shift = table["norm_pmi_rank_rel"].to_numpy() - published["norm_pmi_rank_rel"].to_numpy()
    assert np.abs(shift).max() <= 4
    assert (shift[:20] == 0).all()
    near = np.abs(table["true.pmi"].to_numpy() - published["true.pmi"].to_numpy())
    assert near.max() < 0.0034


# --- errors -----------------------------------------------------------------------------------


def test_wrong_arguments_are_told(rng):
    counts = count_text("ACGTACGTTGCA", 4)
    with pytest.raises(ValueError, match=r"k is 9, expected 2\.\.8"):
        pmi(counts, 9)
    with pytest.raises(ValueError, match="reach words of 4 bases, expected at least k = 5"):
        ranking(counts, 5)
    with pytest.raises(ValueError, match="mode is 'legacy', expected one of corrected, reference"):
        ranking(counts, 4, mode="legacy")
    with pytest.raises(ValueError, match="min_count is 0"):
        ranking(counts, 4, min_count=0)
    with pytest.raises(ValueError, match=r"k is 2, expected 3\.\.8 in reference mode"):
        ranking(counts, 2, mode="reference")
    with pytest.raises(ValueError, match="counted often enough to score"):
        ranking(counts, 4, mode="reference")
    with pytest.raises(ValueError, match="no word of 4 bases was counted"):
        pmi(count_text("NNNACNN", 4), 4)


def test_a_wrong_published_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="set GENOMELM_DATA"):
        read_published_ranking(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("ngram,score\nACGTAC,1.0\n")
    with pytest.raises(ValueError, match=r"other.csv: columns \['naive.pmi'"):
        read_published_ranking(tmp_path / "other.csv")
    table = pd.DataFrame({"ngram": ["AC"], "dp.true.pmi": [1.0], "norm_dp_true_pmi": [0.7]})
    with pytest.raises(ValueError, match=r"AC comes out as .* expected a whole number"):
        recover_counts(table)
