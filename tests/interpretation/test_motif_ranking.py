"""Tables of motif effects: tests against scipy, controls, backgrounds with the motif, rankings."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, spearmanr, ttest_1samp, ttest_ind

from genomelm_utils.evaluation.statistics import correct_fdr
from genomelm_utils.interpretation.motif_insertion import MotifEffects
from genomelm_utils.interpretation.motif_ranking import (
    agreement_table,
    common_motifs,
    compare_occurrence,
    effect_table,
    join_occurrence,
    specific_motifs,
    top_motifs,
)

CELLS = ("JURKAT", "K562", "THP1")


def make_effects(rng: np.random.Generator, motifs: tuple[str, ...], n: int = 40) -> MotifEffects:
    effects = rng.normal(size=(len(motifs), n, 3)).astype(np.float32)
    return MotifEffects(motifs, CELLS, effects, np.zeros((n, 3), np.float32), {})


def test_effects_are_tested_over_backgrounds(rng: np.random.Generator) -> None:
    found = make_effects(rng, ("a", "b", "c", "d"))
    table = effect_table(found)
    assert table["subset"].unique().tolist() == ["all"]
    for c, output in enumerate(CELLS):
        rows = table[table["output"] == output].set_index("motif")
        tests = [ttest_1samp(found.effects_MSC[m, :, c].astype(float), 0) for m in range(4)]
        p_values = [test.pvalue for test in tests]
        assert rows["p"].tolist() == pytest.approx(p_values)
        assert rows["q"].tolist() == pytest.approx(false_discovery_control(p_values).tolist())
        interval = tests[1].confidence_interval()
        assert rows.loc["b", ["low", "high"]].tolist() == pytest.approx(list(interval))
        assert rows.loc["b", "mean"] == pytest.approx(found.effects_MSC[1, :, c].mean(), rel=1e-5)
    assert table["excess"].isna().all()


def test_backgrounds_with_the_motif_are_left_out_where_asked(rng: np.random.Generator) -> None:
    """The released summary computes this subset and then averages over all."""
    found = make_effects(rng, ("a", "b"))
    has = rng.random((40, 2)) < 0.4
    has[:, 1] = True
    table = effect_table(found, has).set_index(["motif", "output", "subset"])
    kept = found.effects_MSC[0, ~has[:, 0], 2]
    row = table.loc["a", "THP1", "without"]
    assert row["mean"] == pytest.approx(kept.mean(), rel=1e-5)
    assert row["n"] == (~has[:, 0]).sum()
    assert table.loc["a", "THP1", "all"]["n"] == 40
    empty = table.loc["b", "THP1", "without"]
    assert empty["n"] == 0
    assert np.isnan(empty["mean"])
    assert np.isnan(empty["q"])
    with pytest.raises(ValueError, match=r"has_motif has shape \[40, 1\] of bool"):
        effect_table(found, has[:, :1])
    with pytest.raises(ValueError, match="of int64, expected bool"):
        effect_table(found, has.astype(int))


def test_excess_over_the_shuffled_motif_is_paired(rng: np.random.Generator) -> None:
    found = make_effects(rng, ("a", "b", "a~shuffled"))
    found.effects_MSC[2] = found.effects_MSC[0] - 0.5 + 0.01 * rng.normal(size=(40, 3))
    table = effect_table(found)
    assert set(table["motif"]) == {"a", "b"}
    row = table[(table["motif"] == "a") & (table["output"] == "K562")].iloc[0]
    assert row["excess"] == pytest.approx(0.5, abs=0.01)
    assert row["control"] == pytest.approx(found.effects_MSC[2, :, 1].mean(), rel=1e-4)
    assert row["p_excess"] < 1e-20
    assert row["p"] > 1e-6  # the effect itself is lost in what backgrounds differ by
    assert table[table["motif"] == "b"]["excess"].isna().all()


def test_effects_that_never_vary() -> None:
    effects = np.zeros((2, 5, 1), np.float32)
    effects[0] = 1
    found = MotifEffects(("one", "none"), ("x",), effects, np.zeros((5, 1), np.float32), {})
    assert effect_table(found).set_index("motif")["p"].tolist() == [0, 1]


def test_occurrence_equals_welch_s_test(rng: np.random.Generator) -> None:
    values = rng.normal(size=(60, 3)) * [1, 5, 1] + 1e4
    values[rng.random((60, 3)) < 0.2] = np.nan
    has = rng.random((60, 4)) < [0.5, 0.3, 0.02, 0.5]
    has[:, 2] = False
    has[7, 2] = True  # once is not enough
    values[:, 0] += 2 * has[:, 0]
    motifs = list("abcd")
    table = compare_occurrence(values, has, motifs, CELLS)
    for c, output in enumerate(CELLS):
        rows = table[table["output"] == output].set_index("motif")
        for m, motif in enumerate(motifs):
            if motif == "c":
                continue
            known = ~np.isnan(values[:, c])
            one, other = values[known & has[:, m], c], values[known & ~has[:, m], c]
            test = ttest_ind(one, other, equal_var=False)
            row = rows.loc[motif]
            assert row["dfe"] == pytest.approx(one.mean() - other.mean(), abs=1e-6)
            assert row["p"] == pytest.approx(test.pvalue, rel=1e-5)
            assert row["df"] == pytest.approx(test.df, rel=1e-5)
            interval = test.confidence_interval()
            assert row[["low", "high"]].tolist() == pytest.approx(list(interval), abs=1e-5)
            assert (row["n_with"], row["n_without"]) == (len(one), len(other))
            assert row["mean_with"] == pytest.approx(one.mean())
        assert np.isnan(rows.loc["c", "p"])
        expected = false_discovery_control(rows["p"].dropna())
        assert rows["q"].dropna().tolist() == pytest.approx(expected.tolist())
    with pytest.raises(ValueError, match=r"values have shape \[60, 2\], expected a column for"):
        compare_occurrence(values[:, :2], has, motifs, CELLS)


def test_insertion_and_occurrence_agree_where_they_do() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=12)
    motifs = tuple(f"m{i}" for i in range(12))
    effects = np.repeat(truth[:, None, None], 30, 1) + 0.1 * rng.normal(size=(12, 30, 1))
    found = MotifEffects(motifs, ("x",), effects.astype(np.float32), np.zeros((30, 1)), {})
    has = rng.random((500, 12)) < 0.3
    values = has @ truth[:, None] + 0.5 * rng.normal(size=(500, 1))
    occurrence = compare_occurrence(values, has, motifs, ["x"])
    joined = join_occurrence(effect_table(found), occurrence, subset="all")
    table = agreement_table(joined, n_resamples=100).set_index("motifs")
    assert table.loc["all", "rho"] == pytest.approx(
        spearmanr(joined["mean"], joined["dfe"]).statistic
    )
    assert table.loc["all", "rho"] > 0.8
    assert table.loc["all", "low"] < table.loc["all", "rho"] <= table.loc["all", "high"]
    significant = joined[joined["q_occurrence"] < 0.05]
    assert table.loc["significant", "n"] == len(significant) < 12
    with pytest.raises(ValueError, match="no effects of subset 'without', found"):
        join_occurrence(effect_table(found), occurrence)
    with pytest.raises(ValueError, match="no motif and output in both tables: 'm0' against"):
        join_occurrence(effect_table(found), occurrence.assign(output="y"), subset="all")


def ranked() -> pd.DataFrame:
    """Effects by hand: motif by output."""
    wide = {
        "up_all": [5, 5, 5],
        "up_K562": [0.5, 6, 0.5],
        "weak": [0.1, 0.1, 0.1],
        "down_all": [-4, -4, -4],
        "down_THP1": [-0.5, -0.5, -6],
        "HOMER_x": [9, 9, 9],
    }
    rows = [
        {"motif": motif, "output": output, "subset": "all", "mean": value}
        for motif, values in wide.items()
        for output, value in zip(CELLS, values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_top_lists() -> None:
    table = ranked()
    best = top_motifs(table, 2, exclude="HOMER")
    assert best.groupby("output", sort=False)["motif"].agg(list).to_dict() == {
        "JURKAT": ["up_all", "up_K562"],
        "K562": ["up_K562", "up_all"],
        "THP1": ["up_all", "up_K562"],
    }
    assert best["rank"].tolist() == [1, 2] * 3
    assert top_motifs(table, 1)["motif"].unique().tolist() == ["HOMER_x"]
    worst = top_motifs(table, 1, side="down")
    assert worst["motif"].tolist() == ["down_all", "down_all", "down_THP1"]
    with pytest.raises(ValueError, match="side is 'left'"):
        top_motifs(table, side="left")
    with pytest.raises(ValueError, match="no motif left"):
        top_motifs(table, exclude="_", subset="without")


def test_common_motifs_are_in_every_list() -> None:
    table = ranked()
    assert common_motifs(table, 2, exclude="HOMER")["motif"].tolist() == ["up_all", "up_K562"]
    assert common_motifs(table, 1, exclude="HOMER").empty
    found = common_motifs(table, 2, side="down")
    assert found["motif"].tolist() == ["down_all", "down_THP1"]
    assert found["mean"].tolist() == pytest.approx([-4, -7 / 3])


def test_specific_motifs_stand_out_in_one_cell() -> None:
    table = ranked()
    found = specific_motifs(table, "K562", exclude="HOMER")
    assert found["motif"].iloc[0] == "up_K562"
    assert (found["mean"] > 0).all()
    wide = table[table["motif"] != "HOMER_x"].pivot(index="motif", columns="output", values="mean")
    z = (wide - wide.mean()) / wide.std(ddof=0)
    expected = z.loc["up_K562", "K562"] - z.loc["up_K562", ["JURKAT", "THP1"]].max()
    assert found["margin"].iloc[0] == pytest.approx(expected)
    down = specific_motifs(table, "THP1", side="down")
    assert down["motif"].iloc[0] == "down_THP1"
    assert down["margin"].iloc[0] < 0
    with pytest.raises(ValueError, match="output 'HeLa' among"):
        specific_motifs(table, "HeLa")


def test_adjusted_p_values_leave_the_unknown_out() -> None:
    found = correct_fdr([0.01, np.nan, 0.02, 0.5])
    assert np.isnan(found[1])
    assert found[[0, 2, 3]].tolist() == pytest.approx([0.03, 0.03, 0.5])
    assert np.isnan(correct_fdr([np.nan])).all()
