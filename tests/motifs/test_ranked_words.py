"""Ranked words against motifs: matches by hand, a ranking that favours them, one that does not."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.motifs.motif import Motif
from genomelm_utils.motifs.ranked_words import (
    areas,
    compare_rankings_with_motifs,
    describe_claim,
    describe_comparison,
    describe_shares,
    match_words,
    matching_share,
)
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_strings

K = 4
FEW = {"n_permutations": 200, "n_resamples": 200}


def motif_of(word: str, name: str = "", flank: int = 0) -> Motif:
    sharp = np.eye(4)[encode(word)] * 96 + 1
    noise = np.full((flank, 4), 25.0)
    return Motif(name or word, np.vstack([noise, sharp, noise]))


def test_words_that_match_by_hand():
    table = match_words([motif_of("ACGG", flank=3), motif_of("AC")], K, share=1 / 256)
    matched = table[table["n_motifs"] > 0]
    assert matched["ngram"].tolist() == ["ACGG", "CCGT"]  # the word and its other strand
    assert matched["motifs"].tolist() == ["ACGG", "ACGG"]
    assert len(table) == 256
    # one mismatch: 12 words, all as good as each other, and their other strands; ACGT and CCGG are
    # their own
    table = match_words([motif_of("ACGG")], K, share=3 / 256)
    assert (table["n_motifs"] > 0).sum() == 2 * (1 + 12) - 2


def test_two_motifs_of_one_word_count_twice():
    table = match_words([motif_of("ACGG", "a"), motif_of("CCGT", "b")], K, share=1 / 256)
    row = table.set_index("ngram").loc["ACGG"]
    assert row["n_motifs"] == 2 and row["motifs"] == "a b"


def test_motifs_that_are_too_short():
    with pytest.raises(ValueError, match="1 motifs, none of 4 positions or more"):
        match_words([motif_of("ACG")], K)


@pytest.fixture
def matches():
    rng = np.random.default_rng(5)
    words = ["".join(rng.choice(list("ACGT"), K)) for _ in range(12)]
    return match_words([motif_of(word, f"m{i}") for i, word in enumerate(words)], K, share=1 / 256)


def scores_of(values) -> pd.Series:
    return pd.Series(values, index=kmer_strings(K), dtype=float)


def test_a_ranking_that_favours_motifs_and_one_that_does_not(matches, rng):
    good = scores_of(matches["n_motifs"].to_numpy() + rng.normal(0, 0.3, 256))
    blind = scores_of(rng.normal(0, 1, 256))
    table = compare_rankings_with_motifs({"good": good, "blind": blind}, matches, rng, **FEW)
    assert table["ranking"].tolist() == ["good", "good", "blind", "blind"]
    assert table["control"].tolist() == ["none", "composition"] * 2
    good_rows, blind_rows = table[:2], table[2:]
    assert (good_rows["auc"] > 0.9).all() and (good_rows["p_value"] == 1 / 201).all()
    assert (blind_rows["p_value"] > 0.01).all()
    assert (table["low"] <= table["auc"]).all() and (table["auc"] <= table["high"]).all()
    np.testing.assert_allclose(table["effect"], table["auc"] - table["expected"])
    assert abs(table.loc[0, "expected"] - 0.5) < 0.03
    told = describe_comparison(table)
    assert "good: words that match known motifs stand before the others (AUC" in told
    assert "blind: words that match known motifs stand nowhere special" in told


def test_composition_is_taken_out(matches, rng):
    """A ranking by GC alone has nothing left among words of equal composition."""
    gc = np.array([word.count("G") + word.count("C") for word in kmer_strings(K)], float)
    cpg = np.array([word.count("CG") for word in kmer_strings(K)], float)
    rich = [motif_of(word) for word in ("GGCC", "GCGC", "CCCC", "GGGC", "GCCG", "CGCG")]
    table = match_words(rich, K, share=1 / 256)
    found = compare_rankings_with_motifs({"gc": scores_of(gc + 10 * cpg)}, table, rng, **FEW)
    plain, controlled = found.itertuples()
    assert plain.auc > 0.8 and plain.p_value < 0.02
    assert controlled.effect == pytest.approx(0, abs=1e-9) and controlled.p_value == 1


def test_strands_count_once(matches, rng):
    table = compare_rankings_with_motifs({"a": scores_of(range(256))}, matches, rng, **FEW)
    assert table.loc[0, "n_words"] == (256 + 16) // 2
    words = matches.loc[matches["n_motifs"] > 0, "ngram"]
    pairs = {min(w, decode(reverse_complement(encode(w)))) for w in words}
    assert table.loc[0, "n_matching"] == len(pairs)


def test_same_generator_same_table(matches):
    ranking = {"a": scores_of(np.arange(256) % 17)}
    one, other = (
        compare_rankings_with_motifs(ranking, matches, np.random.default_rng(1), **FEW)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, other)


def test_areas_by_hand():
    positive = np.array([True, False, True, False])
    np.testing.assert_allclose(
        areas(np.array([[4, 1, 3, 2], [1, 2, 3, 4], [1, 1, 1, 1]]), positive), [1.0, 0.25, 0.5]
    )


def test_shares_among_the_first(matches):
    scores = scores_of(matches["n_motifs"].to_numpy(float))
    table = matching_share({"a": scores}, matches, tops=[5])
    assert table[["top", "n_words"]].to_numpy().tolist() == [[5, 5], [0, 256]]
    assert table["share"].tolist() == [1.0, (matches["n_motifs"] > 0).mean()]


def test_what_cannot_be_compared(matches, rng):
    with pytest.raises(ValueError, match=r"ranking .a.: 1 words that were not matched.*ACGTA"):
        compare_rankings_with_motifs({"a": pd.Series({"ACGTA": 1.0})}, matches, rng)
    with pytest.raises(ValueError, match="ranking 'a': 136 of 136 words match"):
        everything = matches.assign(n_motifs=1)
        compare_rankings_with_motifs({"a": scores_of(range(256))}, everything, rng)


def test_the_papers_claim_on_the_published_ranking(data_dir, rng):
    """Words of high score match known motifs a little more often; most of that is composition."""
    from genomelm_utils.pretraining.ranking_tables import SCORE, read_published

    path = data_dir / "pmi" / "genemask" / "Data-A_norm-pmi-score-ranking.csv.gz"
    tables = read_published(path, 6)
    rankings = {name: one.set_index("ngram")[SCORE] for name, one in tables.items()}
    known = read_motifs(data_dir / "motifs" / "JASPAR_CORE_2016_vertebrates.meme.gz")
    found = compare_rankings_with_motifs(rankings, match_words(known, 6), rng, 300, 100)
    assert found["ranking"].nunique() == 2 and (found["n_words"] == 2080).all()
    plain, controlled = (found[found["control"] == name] for name in ("none", "composition"))
    assert (plain["auc"] > 0.52).all() and (plain["p_value"] < 0.01).all()
    assert (controlled["effect"].to_numpy() < plain["effect"].to_numpy() / 2).all()


def test_sentence_on_shares():
    table = pd.DataFrame(
        {"ranking": ["corrected"] * 2, "top": [100, 0], "n_words": [100, 4096], "share": [0.4, 0.3]}
    )
    assert describe_shares(table) == (
        "Of the first 100 words match a motif: corrected 40% (of all 30%)."
    )


def test_short_sentences_on_the_claim():
    table = pd.DataFrame(
        {
            "ranking": ["a", "a", "b", "b"],
            "control": ["none", "composition"] * 2,
            "auc": [0.6, 0.6, 0.55, 0.55],
            "low": [0.55, 0.55, 0.5, 0.5],
            "high": [0.65, 0.65, 0.6, 0.6],
            "effect": [0.1, 0.04, 0.05, -0.01],
            "p_value": [0.001, 0.02, 0.01, 0.6],
        }
    )
    assert describe_claim(table) == (
        "AUC of words that match a known motif: a 0.600 [0.550, 0.650], +0.100 over all orders (p ="
        " 0.001), +0.040 among words of equal composition (p = 0.02); b 0.550 [0.500, 0.600], "
        "+0.050 over all orders (p = 0.01), -0.010 among words of equal composition (p = 0.6). "
        "Words that match stand before others of their composition in 1 of 2 rankings."
    )
