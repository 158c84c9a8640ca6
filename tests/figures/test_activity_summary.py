"""Figures of promoter activity over several runs: drawn and told is what the tables hold."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures import activity_summary as active
from genomelm_utils.figures.style import new_figure
from genomelm_utils.tasks.activity_benchmark import compare_strategies, select_best, summarise

#: Mean score of each method; every seed adds a little of its own.
SCORES = {
    ("Net single", "Net", "single", ""): 0.5,
    ("Net probing (a)", "Net", "probing", "a"): 0.3,
    ("Net finetune (a)", "Net", "finetune", "a"): 0.6,
    ("Other single", "Other", "single", ""): 0.1,
    ("gc", "", "baseline", ""): 0.2,
}


def run_scores(shift: float = 0.0) -> pd.DataFrame:
    rows = []
    for i, ((method, backbone, strategy, pretrain), mean) in enumerate(SCORES.items()):
        for seed in range(3):
            noise = 0 if strategy == "baseline" else 0.01 * np.sin(seed * (i + 1))
            for output in ("mean", "K562"):
                rows.append(
                    {
                        "method": method, "backbone": backbone, "strategy": strategy,
                        "pretrain": pretrain, "seed": seed, "output": output,
                        "metric": "spearman", "value": mean + noise + (shift if backbone else 0),
                        "best": np.nan if strategy == "baseline" else mean + noise, "key": method,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def views_of(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    methods = [m for m in scores["method"].unique() if m != "gc"]
    rows = [
        (m, output, subset, metric, value, value - 0.1, value + 0.1)
        for i, m in enumerate(methods)
        for output in ("mean", "K562")
        for subset, value in (("all", 0.1 * i), ("top", 0.01 * i), ("bottom", 0.02 * i))
        for metric in ("rho", "r")
    ]
    columns = ["model", "output", "subset", "metric", "mean", "low", "high"]
    ends = pd.DataFrame(rows, columns=columns)
    return ends, ends[ends["subset"] == "all"].assign(mean=0.07)


@pytest.fixture
def tables(make_parent) -> dict[str, pd.DataFrame]:
    parents = []
    for name, shift in (("one", 0.0), ("two", -0.45)):
        scores = run_scores(shift)
        ends, specific = views_of(scores)
        given = {"ends": ends, "specificity": specific} if name == "one" else {"ends": ends}
        parents.append(
            make_parent(
                "08_promoter_activity",
                name,
                summary=summarise(scores),
                paired=compare_strategies(scores, "spearman"),
                best=select_best(scores),
                **given,
            )
        )
    recovery = pd.DataFrame(
        [("Net finetune (a)", "rho", 0.9, 0.8, 1.0, 8), ("Net finetune (a)", "auc", 1, 1, 1, 8)],
        columns=["method", "measure", "value", "low", "high", "n"],
    )
    inserted = [make_parent("12_motif_insertion", "default", recovery=recovery)]
    return active.gather_activity(parents, inserted)


def test_tables_of_all_runs_are_gathered(tables):
    assert list(tables["summary"]["run"].unique()) == ["one", "two"]
    assert tables["specificity"]["run"].unique().tolist() == ["one"]
    assert tables["effects"].empty
    assert len(tables["recovery"]) == 2


def test_strategies_of_every_run_are_drawn(tables):
    summary = tables["summary"]
    fig, axes = active.grid_by_rows(active.headline(summary))
    active.plot_all_strategies(summary, axes)
    assert [ax.get_title() for ax in axes[:, 0]] == ["one", "two"]
    labels = [text.get_text() for text in axes[0, 0].get_yticklabels()]
    assert labels[0] == "Net single" and labels[-1] == "gc" and len(labels) == len(SCORES)
    assert fig.get_figheight() > 2


def test_sentences_count_runs_in_which_a_network_wins(tables):
    told = active.describe_winners(tables["summary"])
    assert "above every baseline in 1 of 2 runs" in told
    assert "one: Spearman's rho of the best network (Net finetune (a)) 0.6" in told
    assert "of the best baseline (gc) 0.20." in told


def test_gains_are_transfer_less_scratch_whichever_stands_first(tables):
    gains = active.gains_over_scratch(tables["summary"], tables["paired"])
    assert len(gains) == 4
    assert set(gains["backbone"]) == {"Net"}, "the other network has no transfer"
    by = gains[gains["run"] == "one"].set_index("strategy")
    assert by["difference"]["finetune"] == pytest.approx(0.1, abs=0.02)
    assert by["difference"]["probing"] == pytest.approx(-0.2, abs=0.02)
    assert (by["low"] <= by["difference"]).all() and (by["difference"] <= by["high"]).all()
    told = active.describe_gains(gains)
    assert told.startswith("Of 4 transfers 2 gain and 2 lose beyond chance")
    assert "over 3 or more seeds" in told
    turned = tables["paired"].rename(columns={"a": "b", "b": "a"})
    turned["difference"] *= -1
    turned[["low", "high"]] = -turned[["high", "low"]].to_numpy()
    again = active.gains_over_scratch(tables["summary"], turned)
    pd.testing.assert_frame_equal(
        again.sort_values("method", ignore_index=True),
        gains.sort_values("method", ignore_index=True),
    )
    assert "No run has a transfer" in active.describe_gains(gains.head(0))


def test_gains_are_drawn_at_their_values(tables):
    gains = active.gains_over_scratch(tables["summary"], tables["paired"])
    _, axes = active.grid_by_rows(gains)
    active.plot_all_gains(gains, axes)
    shown = [c.lines[0].get_xdata()[0] for c in axes[0, 0].containers]
    assert sorted(shown) == pytest.approx(sorted(gains[gains["run"] == "one"]["difference"]))
    assert axes[0, 0].get_xlabel().endswith("(other task: a)")


def test_views_are_of_the_network_chosen_by_validation(tables):
    views = active.best_views(tables)
    assert set(views["method"]) == {"Net finetune (a)"}
    one = views[views["run"] == "one"].set_index("view")["mean"]
    assert one["all test rows"] == pytest.approx(0.2)
    assert one["differences between cells"] == pytest.approx(0.07)
    assert "differences between cells" not in set(views[views["run"] == "two"]["view"])
    ax = new_figure()[1][0, 0]
    active.plot_views(views, ax)
    assert ax.get_xticklabels()[0].get_text() == "all test rows"
    told = active.describe_views(views)
    assert told.startswith("one (Net finetune (a), one seed): rho of all test rows 0.20 [0.10, 0.3")
    views.loc[views.index[0], ["mean", "low", "high"]] = np.nan  # a tenth that is all alike
    assert "rho of all test rows not defined (values alike)" in active.describe_views(views)


def test_numbers_are_those_of_the_tables(tables):
    gains = active.gains_over_scratch(tables["summary"], tables["paired"])
    numbers = active.activity_numbers(tables, gains)
    assert numbers["score"]["one"]["gc"] == pytest.approx(0.2)
    assert numbers["gain"]["two"]["Net probing (a)"] == pytest.approx(-0.2, abs=0.02)
    assert numbers["insertion_rho"]["default"]["Net finetune (a)"] == 0.9
