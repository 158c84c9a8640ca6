"""GeneMask's figures from finished runs: signs, names, sentences, the main table, numbers."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures.genemask_summary import (
    contiguous_of,
    describe_agreement,
    describe_fewshot,
    describe_masking,
    describe_pairs,
    describe_pretraining,
    gather_genemask,
    genemask_numbers,
    main_layout,
    main_rows,
    pairs_against_contiguous,
    write_main_tables,
)
from genomelm_utils.figures.manuscript import describe_gathered


def agreement_table(pairs: dict[tuple[str, str], float]) -> pd.DataFrame:
    rows = [
        {"a": a, "b": b, "measure": m, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1}
        for (a, b), value in pairs.items()
        for m, v in (("spearman", value), ("overlap_top_100", value / 2))
    ]
    return pd.DataFrame(rows)


SUMMARY = pd.DataFrame(
    [
        {"dataset": d, "shots": shots, "method": method, "model": model, "metric": metric,
         "mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 3, "unit": "draw"}
        for d, shots, method, model, mean in (
            ("splice", 10, "fine-tuned", "genemask", 0.70),
            ("splice", 10, "fine-tuned", "contiguous", 0.60),
            ("splice", 10, "baseline", "gc", 0.50),
            ("splice", 10, "baseline", "kmer4", 0.60),
            ("promoter", 10, "fine-tuned", "genemask", 0.70),
            ("promoter", 10, "baseline", "gc", 0.66),
            ("promoter", 10, "probe", "genemask", 0.90),
            ("promoter", 50, "fine-tuned", "genemask", 0.95),
        )
        for metric in ("accuracy", "auc", "precision")
    ]
)  # fmt: skip
PAIRED = pd.DataFrame(
    {
        "dataset": ["splice", "splice", "splice", "promoter"],
        "shots": [10, 10, 10, 50],
        "a": ["contiguous", "genemask", "contiguous", "genemask"],
        "b": ["genemask", "span11", "span11", "contiguous"],
        "difference": [-0.1, 0.3, 0.2, 0.05],
        "low": [-0.15, 0.1, 0.1, -0.05],
        "high": [-0.05, 0.5, 0.3, 0.15],
        "p_holm": [0.01, 0.02, 0.03, 0.5],
    }
)
MASKING = pd.DataFrame(
    {
        "scheme": ["contiguous", "genemask"],
        "masked_share": [0.15, 0.2],
        "hidden_share": [0.034, 0.079],
        "setting": "trained",
    }
)
FINAL = pd.DataFrame(
    {"scheme": ["contiguous", "genemask"], "bits_last": [1.9, 1.8], "bits_markov": [1.7, 1.7]}
)
BASELINES = pd.DataFrame({"name": ["guessing", "chain"], "bits_per_base": [2.0, 1.7]})


@pytest.fixture
def tables(make_parent) -> dict[str, pd.DataFrame]:
    """What a demo profile leaves, gathered: two models, two few-shot sets, one ranking."""
    scores = pd.DataFrame({"ngram": ["AC"], "score_x": [1.0], "score_y": [2.0]})
    ranking = make_parent(
        "02_pmi_ranking", "default", scores=scores,
        agreement=agreement_table({("corrected", "reference"): 0.6}),
    )  # fmt: skip
    models = [
        make_parent(
            "04_pretraining", name, masking=MASKING[i : i + 1], final=FINAL[i : i + 1],
            baselines=BASELINES,
            history=pd.DataFrame({"scheme": name, "step": [0], "bits_per_base": [2.0]}),
        )
        for i, name in enumerate(FINAL["scheme"])
    ]  # fmt: skip
    sets = [
        make_parent(
            "05_fewshot", name, summary=SUMMARY[SUMMARY["dataset"] == name],
            paired=PAIRED[PAIRED["dataset"] == name],
        )
        for name in ("promoter", "splice")
    ]  # fmt: skip
    return gather_genemask(rankings=[ranking], pretraining=models, fewshot=sets)


# --- gathering ------------------------------------------------------------------------------------


def test_tables_of_all_runs_stand_below_each_other(tables):
    assert tables["final"]["run"].tolist() == ["contiguous", "genemask"]
    assert len(tables["summary"]) == len(SUMMARY)
    assert tables["baselines"]["bits_per_base"].tolist() == [2.0, 1.7]  # each once
    counted = describe_gathered(tables).set_index("table")
    assert counted.loc["masking"].tolist() == [2, 2]
    assert counted.loc["summary"].tolist() == [2, len(SUMMARY)]


def test_published_scores_take_the_place_of_ours(make_parent, tables):
    one, two = (pd.DataFrame({"score_x": [x]}) for x in (1.0, 2.0))
    agreement = agreement_table({("corrected", "reference"): 0.6})
    parents = [
        make_parent("02", "with", scores=one, published_scores=two, agreement=agreement),
        make_parent("02", "without", scores=one, agreement=agreement),
    ]
    baselines = make_parent(
        "04", "m", masking=MASKING, final=FINAL, baselines=BASELINES, history=FINAL
    )
    found = gather_genemask(rankings=parents, pretraining=[baselines], fewshot=[])["scores"]
    assert found[["run", "score_x"]].values.tolist() == [["with", 2.0], ["without", 1.0]]


def test_a_missing_table_names_the_run(make_parent):
    parent = make_parent("02", "old", scores=FINAL)
    with pytest.raises(FileNotFoundError, match=r"02/old has no table 'agreement'.*scores"):
        gather_genemask(rankings=[parent], pretraining=[], fewshot=[])


# --- differences ----------------------------------------------------------------------------------


def test_pairs_are_signed_so_that_above_zero_is_better_than_the_base():
    pairs = pairs_against_contiguous(PAIRED)
    assert pairs["label"].tolist() == [
        "genemask, 50 shots",
        "genemask, 10 shots",
        "span11, 10 shots",
    ]
    assert pairs["dataset"].tolist() == ["promoter", "splice", "splice"]
    assert pairs[["difference", "low", "high"]].values.tolist() == [
        [0.05, -0.05, 0.15],  # the base stood second: as it was
        [0.1, 0.05, 0.15],  # the base stood first: turned, and its ends exchanged
        [-0.2, -0.3, -0.1],
    ]
    assert (pairs["low"] <= pairs["difference"]).all()
    assert (pairs["difference"] <= pairs["high"]).all()
    assert pairs["p_holm"].tolist() == [0.5, 0.01, 0.03]


def test_pairs_do_not_depend_on_the_order_of_names():
    turned = PAIRED.rename(columns={"a": "b", "b": "a"})
    turned[["difference", "low", "high"]] = -PAIRED[["difference", "high", "low"]].to_numpy()
    expected = pairs_against_contiguous(PAIRED)
    pd.testing.assert_frame_equal(pairs_against_contiguous(turned), expected)


def test_no_pairs_is_an_empty_table():
    empty = pairs_against_contiguous(PAIRED[:0])
    assert empty.empty
    assert describe_pairs(empty).startswith("Of 0 paired differences")


def test_partner_is_the_same_network_under_contiguous_masking():
    assert contiguous_of("genemask_reference") == "contiguous"
    assert contiguous_of("logo-genemask-reference") == "logo-contiguous-reference"
    assert contiguous_of("scratch") is None
    networks = {"genemask": "logo-genemask", "contiguous": "logo-contiguous"}
    logo = PAIRED.replace({"a": networks, "b": networks})
    assert set(pairs_against_contiguous(logo)["model"]) == {"logo-genemask"}


def test_sentence_counts_what_stands_after_correction():
    text = describe_pairs(pairs_against_contiguous(PAIRED))
    assert text.startswith("Of 3 paired differences from contiguous masking, 1 are better and 1 ")
    nothing = describe_pairs(pairs_against_contiguous(PAIRED.assign(p_holm=np.nan)))
    assert "0 are better and 0 worse" in nothing


# --- sentences ------------------------------------------------------------------------------------


def test_agreement_is_with_the_published_ranking_where_there_is_one():
    ours = agreement_table({("corrected", "reference"): 0.6})
    both = agreement_table({("corrected", "reference"): 0.6, ("corrected", "published"): 0.8})
    assert describe_agreement(ours.assign(run="r")) == (
        "r: corrected against reference, Spearman 0.600 [0.500, 0.700], 30 of the first 100 words "
        "shared."
    )
    text = describe_agreement(pd.concat([ours.assign(run="r"), both.assign(run="s")]))
    assert "; s: corrected against published, Spearman 0.800" in text
    assert "40 of the first 100" in text


def test_agreement_of_short_words_has_no_first_hundred():
    table = agreement_table({("corrected", "reference"): 0.6}).assign(run="r")
    text = describe_agreement(table[table["measure"] == "spearman"])
    assert text == "r: corrected against reference, Spearman 0.600 [0.500, 0.700]."


def test_masking_and_pretraining_sentences_name_every_run(tables):
    published = tables["masking"].assign(setting="published", masked_share=[0.1, 0.3])
    assert describe_masking(pd.concat([tables["masking"], published])) == (
        "As published, contiguous masks 10.0 % of the tokens and hides 3.4 % of the bases; "
        "genemask masks 30.0 % of the tokens and hides 7.9 % of the bases. "
        "As trained, contiguous masks 15.0 % of the tokens and hides 3.4 % of the bases; "
        "genemask masks 20.0 % of the tokens and hides 7.9 % of the bases."
    )
    assert describe_pretraining(tables["final"]) == (
        "Bits per hidden base at the end: genemask 1.800, contiguous 1.900; Markov chain 1.700."
    )
    same = tables["masking"].assign(scheme="genemask", run=["as released", "corrected"])
    assert "as released masks" in describe_masking(same)
    assert "corrected masks" in describe_masking(same)


def test_settings_above_the_best_baseline_are_counted():
    # splice 10: 0.65 > 0.60; promoter 10: 0.65 < 0.66; promoter 50 has no baseline to judge by
    assert describe_fewshot(SUMMARY, "accuracy").startswith("In 1 of 2 settings")
    assert "best fine-tuned model lies above the best baseline's mean accuracy" in (
        describe_fewshot(SUMMARY, "accuracy")
    )
    assert describe_fewshot(SUMMARY, "auc", "probe").startswith("In 1 of 1 settings")
    without = SUMMARY.assign(low=np.nan)
    assert describe_fewshot(without, "accuracy").startswith("In 0 of 2 settings")


# --- the main table -------------------------------------------------------------------------------


def test_main_rows_are_sorted_and_hold_the_main_metrics_only():
    rows = main_rows(SUMMARY.sample(frac=1, random_state=1).assign(extra=1))
    assert list(rows.columns) == [
        "dataset", "shots", "method", "model", "metric", "mean", "low", "high", "n", "unit",
    ]  # fmt: skip
    assert set(rows["metric"]) == {"accuracy", "auc"}
    assert len(rows) == len(SUMMARY) * 2 // 3
    pd.testing.assert_frame_equal(rows, main_rows(SUMMARY))
    assert rows.loc[0, ["dataset", "shots", "method"]].tolist() == ["promoter", 10, "baseline"]


def test_layout_has_a_column_per_shots_and_gaps_where_there_is_no_run():
    table = main_layout(main_rows(SUMMARY), "accuracy").set_index(["dataset", "method", "model"])
    assert list(table.columns) == ["10 shots", "50 shots"]
    row = table.loc[("promoter", "fine-tuned", "genemask")]
    assert row.tolist() == ["0.700 [0.650, 0.750]", "0.950 [0.900, 1.000]"]
    assert table.loc[("splice", "baseline", "gc")].tolist() == ["0.500 [0.450, 0.550]", ""]
    single = main_layout(main_rows(SUMMARY.assign(n=1, low=np.nan, high=np.nan)), "accuracy")
    assert single["10 shots"].tolist()[0] == "0.660"


def test_the_main_table_is_written_for_the_readme(tables, tmp_path):
    write_main_tables(main_rows(tables["summary"]), tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.md")) == [
        "main_accuracy.md",
        "main_auc.md",
    ]
    markdown = (tmp_path / "main_accuracy.md").read_text().splitlines()
    assert markdown[0] == "| dataset | method | model | 10 shots | 50 shots |"
    assert "| promoter | fine-tuned | genemask | 0.700 [0.650, 0.750] | 0.950 [0.900, 1.000] |" in (
        markdown
    )


# --- numbers --------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_tables(tables):
    numbers = genemask_numbers(tables)
    assert numbers["ranking_agreement"] == {
        "default: corrected v reference": {"spearman": 0.6, "overlap_top_100": 0.3}
    }
    assert numbers["masked_share"] == {"contiguous": 0.15, "genemask": 0.2}
    assert numbers["hidden_share"]["genemask"] == 0.079
    assert numbers["bits_per_base"] == {"contiguous": 1.9, "genemask": 1.8}
    assert numbers["bits_markov"] == {"contiguous": 1.7, "genemask": 1.7}


def test_numbers_keep_apart_what_two_runs_of_a_scheme_measured(tables):
    both = tables["masking"].assign(scheme="genemask", run=["released", "corrected"])
    numbers = genemask_numbers(tables | {"masking": both})
    assert numbers["masked_share"] == {"released": 0.15, "corrected": 0.2}


def test_numbers_without_a_value_are_none(tables):
    tables["final"].loc[0, "bits_last"] = np.nan
    tables["agreement"].loc[0, "value"] = np.inf
    numbers = genemask_numbers(tables)
    assert numbers["bits_per_base"] == {"contiguous": None, "genemask": 1.8}
    assert numbers["ranking_agreement"]["default: corrected v reference"]["spearman"] is None
