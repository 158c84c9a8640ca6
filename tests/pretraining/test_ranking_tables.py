"""Tables that lay rankings side by side: against counts by hand and rankings made to measure."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.pretraining import pmi
from genomelm_utils.pretraining.ngrams import count_ngrams
from genomelm_utils.pretraining.ranking_tables import (
    SCORE,
    compare_all_rankings,
    describe_orders,
    describe_rankings,
    describe_scores,
    join_scores,
    read_published,
    recompute_published,
    top_words,
)
from genomelm_utils.sequences.alphabet import definite_runs, encode
from genomelm_utils.sequences.kmers import kmer_strings


def make_ranking(scores: dict[str, float]) -> pd.DataFrame:
    table = pd.DataFrame({"ngram": list(scores), SCORE: list(scores.values())})
    table = table.sort_values(SCORE, ascending=False, ignore_index=True)
    return table.assign(norm_pmi_rank_rel=np.arange(1, len(table) + 1))


def all_words(k: int, score) -> pd.DataFrame:
    return make_ranking({word: score(i, word) for i, word in enumerate(kmer_strings(k))})


@pytest.fixture(scope="module")
def counts():
    codes = np.random.default_rng(5).choice(4, 400_000, p=[0.3, 0.2, 0.2, 0.3]).astype(np.uint8)
    return count_ngrams(codes, np.array([[0, len(codes)]]), n_max=6)


@pytest.fixture(scope="module")
def published(counts) -> pd.DataFrame:
    """What a published file would hold of these counts, at full precision."""
    scores = pmi.reference_scores(counts.counts[6])
    return scores.dropna().drop(columns="count").assign(ngram_size=6, norm_pmi_rank_rel=1)


# --- one ranking ----------------------------------------------------------------------------------


def test_orders_by_hand():
    codes = encode("AACNAAA")
    table = describe_orders(count_ngrams(codes, definite_runs(codes), n_max=3)).set_index("n_bases")
    assert table.index.tolist() == [1, 2, 3]
    assert table["possible_words"].tolist() == [4, 16, 64]
    assert table["words_seen"].tolist() == [2, 2, 2]  # A C; AA AC; AAC AAA
    assert table["occurrences"].tolist() == [6, 4, 2]
    assert table["share_seen"].tolist() == [0.5, 2 / 16, 2 / 64]
    assert table["mean_count"].tolist() == [1.5, 0.25, 2 / 64]


def test_character_of_a_ranking_by_hand():
    # score = minus the place in the alphabet's order, count = place: perfectly opposed
    ranking = all_words(2, lambda i, word: -i)
    counted = pd.DataFrame({"ngram": kmer_strings(2), "count": np.arange(16)})
    table = describe_rankings({"r": ranking}, counted, planted=["AA", "AC", "TT"])
    value = table.set_index("quantity")["value"].to_dict()
    assert value["Spearman of score and count"] == pytest.approx(-1)
    assert value["share of CpG words in the first 8"] == 1 / 8  # CG is the seventh word
    assert value["share of CpG words in the last 8"] == 0
    # AA and AC beat all 13 others, TT none
    assert value["AUC of planted motif words"] == pytest.approx(26 / 39)
    assert set(table["ranking"]) == {"r"}


def test_area_under_the_curve_counts_ties_half_and_knows_when_it_is_nothing():
    ranking = all_words(2, lambda i, word: 1.0 + (word == "TT"))
    counted = pd.DataFrame({"ngram": kmer_strings(2), "count": np.arange(16)})

    def area(planted):
        return describe_rankings({"r": ranking}, counted, planted)["value"].iloc[-1]

    assert area(["AA", "GG"]) == pytest.approx((13 * 0.5 + 0) / 14)  # TT is better than both
    assert area(["TT"]) == 1
    assert np.isnan(area([]))
    assert np.isnan(area(kmer_strings(2)))
    without = describe_rankings({"r": ranking}, counted)
    assert not without["quantity"].str.contains("planted").any()


def test_top_words_side_by_side():
    a, b = make_ranking({"AA": 1, "CC": 3, "GG": 2}), make_ranking({"TT": 5})
    assert top_words({"a": a, "b": b}, 2).to_dict("list") == {"a": ["CC", "GG"], "b": ["TT", ""]}


# --- two rankings ---------------------------------------------------------------------------------


def test_scores_are_joined_by_word():
    a = make_ranking({"AA": 1.0, "CC": 2.0, "GG": 3.0})
    b = make_ranking({"GG": 30.0, "AA": 10.0, "TT": 0.0})
    both = join_scores(a, b, "first", "second").set_index("ngram")
    assert both["score_x"].to_dict() == {"AA": 1.0, "GG": 3.0}
    assert both["score_y"].to_dict() == {"AA": 10.0, "GG": 30.0}
    assert set(both["name_x"]) == {"first"}
    assert set(both["name_y"]) == {"second"}


@pytest.mark.parametrize(("sign", "rho"), [(1, "1.000"), (-1, "-1.000")])
def test_sentence_about_two_scores(sign, rho):
    a = all_words(2, lambda i, word: float(i))
    b = all_words(2, lambda i, word: -100.0 if word == "CG" else sign * float(i))
    text = describe_scores(join_scores(a.query("ngram != 'CG'"), b, "old", "new"))
    assert text.startswith(f"new against old, 15 words, Spearman {rho}; the best word is ")
    assert ("the best word is TT" in text) == (sign == 1)
    text = describe_scores(join_scores(a, b, "old", "new"))
    assert text.endswith("100 % of the CpG words lie below the median of the others.")
    high = all_words(2, lambda i, word: 100.0 if word == "CG" else float(i))
    text = describe_scores(join_scores(a, high, "old", "new"))
    assert "the best word is CG; 0 % of the CpG words" in text


def test_every_pair_is_compared_once():
    up, down = all_words(3, lambda i, word: i), all_words(3, lambda i, word: -i)
    table = compare_all_rankings({"u": up, "v": up, "d": down}, tops=(16,))
    assert list(table.columns[:2]) == ["a", "b"]
    assert table[["a", "b"]].drop_duplicates().values.tolist() == [
        ["u", "v"],
        ["u", "d"],
        ["v", "d"],
    ]
    value = table.set_index(["a", "b", "measure"])["value"]
    assert value["u", "v", "spearman"] == pytest.approx(1)
    assert value["u", "d", "spearman"] == pytest.approx(-1)
    assert value["u", "v", "overlap_top_16"] == 1
    assert value["u", "d", "overlap_top_16"] == 0


def test_a_top_longer_than_the_ranking_is_cut():
    table = compare_all_rankings(
        {"a": all_words(3, lambda i, word: i), "b": all_words(3, lambda i, word: i)}, (10, 100, 200)
    )
    assert table["measure"].tolist() == ["spearman", "overlap_top_10", "overlap_top_32"]
    assert table["expected_by_chance"].tolist() == [0, 10 / 64, 0.5]


# --- the published ranking ------------------------------------------------------------------------


def test_reference_mode_gives_a_published_ranking_back(published):
    table = recompute_published(published).set_index("column")
    assert table.index.tolist() == ["naive.pmi", "dp.true.pmi", SCORE]
    assert (table["largest_difference"] < 1e-9).all()
    assert (table["n_words"] == len(published)).all()


def test_a_wrong_published_column_shows(published):
    wrong = published.reset_index(drop=True)
    wrong.loc[7, "naive.pmi"] += 0.25
    table = recompute_published(wrong).set_index("column")["largest_difference"]
    assert table["naive.pmi"] == pytest.approx(0.25)
    assert table["dp.true.pmi"] < 1e-9


def test_published_file_is_read_as_it_is_and_corrected(published, counts, tmp_path):
    table = published.sort_values(SCORE, ascending=False)
    table = table.assign(norm_pmi_rank_rel=np.arange(1, len(table) + 1))
    table["true.pmi"] = table["dp.true.pmi"]
    table.to_csv(tmp_path / "published.csv", index=False)
    rankings = read_published(tmp_path / "published.csv", 6)
    assert list(rankings) == ["published", "published, corrected"]
    assert rankings["published"]["ngram"].tolist() == table["ngram"].tolist()
    ours = pmi.ranking(counts, 6).set_index("ngram")[SCORE]
    corrected = rankings["published, corrected"].set_index("ngram")[SCORE]
    # the same counts but for the last bases of the one run: nearly the same scores
    difference = (ours - corrected).abs()[table["ngram"]]
    assert difference.max() < 1e-3
    with pytest.raises(ValueError, match=r"ranks words of 6 bases, expected k = 5; set k to 6"):
        read_published(tmp_path / "published.csv", 5)


def test_real_published_ranking_comes_back(data_dir):
    path = data_dir / "pmi/genemask/Data-A_norm-pmi-score-ranking.csv.gz"
    rankings = read_published(path, 6)
    # golden fact: the published columns to 1e-9 by the released computation on recovered counts
    assert (recompute_published(rankings["published"])["largest_difference"] < 1e-9).all()
    agreement = compare_all_rankings(rankings).set_index("measure")["value"]
    assert 0.3 < agreement["spearman"] < 0.99
