"""Classes of promoters: against scikit-learn, resamples, ends, bins per cell; transfer by name."""

import numpy as np
import pytest
from sklearn import metrics as sk

from genomelm_utils.evaluation.promoter_classes import (
    binary_scores,
    binned_scores,
    expected_bins,
    split_bins,
)
from genomelm_utils.evaluation.promoter_transfer import (
    Transfer,
    parse_transfers,
    transfer_scores,
    transfers_by_number,
)

CELLS = ["JURKAT", "K562"]


def simulate(rng: np.random.Generator, n: int = 120):
    numbers = rng.normal(size=(n, 2))
    labels = (numbers > np.median(numbers, 0)).astype(float)
    labels[rng.random((n, 2)) < 0.1] = np.nan
    p = 1 / (1 + np.exp(-(numbers + rng.normal(size=(n, 2)))))
    return labels, np.round(p, 2), numbers  # rounded: there are ties


def value(table, metric: str, output: str = "K562", subset: str = "all") -> float:
    chosen = (table["metric"] == metric) & (table["output"] == output)
    return table[chosen & (table["subset"] == subset)]["mean"].item()


@pytest.mark.parametrize("subset", ["all", "top", "bottom"])
def test_binary_scores_equal_scikit_learn(rng: np.random.Generator, subset: str) -> None:
    labels, p, numbers = simulate(rng)
    table = binary_scores(labels, {"m": p}, CELLS, numbers_SC=numbers, n_resamples=0)
    low, high = np.percentile(numbers[:, 1], [10, 90])
    kept = {"all": numbers[:, 1] == numbers[:, 1]}
    kept |= {"top": numbers[:, 1] > high, "bottom": numbers[:, 1] < low}
    rows = kept[subset] & ~np.isnan(labels[:, 1])
    y, score = labels[rows, 1].astype(int), p[rows, 1]
    said = (score > 0.5).astype(int)
    expected = {
        "accuracy": sk.accuracy_score(y, said),
        "precision": sk.precision_score(y, said, zero_division=0),
        "recall": sk.recall_score(y, said, zero_division=0),
        "f1": sk.f1_score(y, said, zero_division=0),
        "mcc": sk.matthews_corrcoef(y, said),
    }
    if subset == "all":
        expected["auc"] = sk.roc_auc_score(y, score)
        expected["auprc"] = sk.average_precision_score(y, score)
    for metric, number in expected.items():
        assert value(table, metric, subset=subset) == pytest.approx(number), metric
    if subset == "top":  # one class only
        assert np.isnan(value(table, "auc", subset="top"))
    row = table[(table["output"] == "K562") & (table["subset"] == subset)].iloc[0]
    assert row["n"] == rows.sum()
    assert row["share"] == pytest.approx(y.mean())


def test_resampled_rows_count_as_often_as_they_were_drawn(rng: np.random.Generator) -> None:
    """A resample in weights is the same as the rows repeated."""
    from genomelm_utils.evaluation.promoter_classes import _binary_metrics, _binned_metrics

    labels, p, _ = simulate(rng)
    rows = ~np.isnan(labels[:, 0])
    y, score = labels[rows, 0].astype(int), p[rows, 0]
    weights = rng.integers(0, 4, (3, rows.sum())).astype(float)
    found = _binary_metrics(y, score, weights)
    bins, p_NB = rng.integers(0, 5, rows.sum()), rng.dirichlet(np.ones(5), rows.sum())
    binned = _binned_metrics(bins, p_NB, weights)
    for r, weight in enumerate(weights.astype(int)):
        again = _binary_metrics(
            np.repeat(y, weight), np.repeat(score, weight), np.ones((1, weight.sum()))
        )
        for metric, values in again.items():
            assert found[metric][r] == pytest.approx(values[0]), metric
        again = _binned_metrics(
            np.repeat(bins, weight), np.repeat(p_NB, weight, 0), np.ones((1, weight.sum()))
        )
        for metric, values in again.items():
            assert binned[metric][r] == pytest.approx(values[0]), metric


def test_intervals_hold_the_score(rng: np.random.Generator) -> None:
    labels, p, _ = simulate(rng, 300)
    table = binary_scores(labels, {"m": p}, CELLS, n_resamples=200)
    assert (table["low"] < table["mean"]).all()
    assert (table["mean"] < table["high"]).all()
    mean = table[(table["metric"] == "auc") & (table["output"] == "mean")]["mean"].item()
    assert mean == pytest.approx(np.mean([value(table, "auc", name) for name in CELLS]))


def test_logits_and_odd_labels_are_refused(rng: np.random.Generator) -> None:
    labels, p, _ = simulate(rng)
    with pytest.raises(ValueError, match=r"from 0 to 1; take the sigmoid of logits"):
        binary_scores(labels, {"m": 10 * p - 5}, CELLS)
    labels[3, 1] = 0.5
    with pytest.raises(ValueError, match=r"label of row 3, 'K562' is 0\.5"):
        binary_scores(labels, {"m": p}, CELLS)


def test_expected_bins_are_per_cell_and_by_the_reference_over_all() -> None:
    logits = np.array([[0.0] * 5 + [3.0, 0, 0, 0, 0]])
    assert expected_bins([logits], 2)[0, 0] == pytest.approx(2.0)
    assert expected_bins([logits], 2, "reference")[0, 0] == pytest.approx(0.3438, abs=5e-5)
    assert split_bins(logits, 2).sum(-1)[0].tolist() == pytest.approx([1, 1])
    assert split_bins(logits, 2, "reference").sum() == pytest.approx(1)
    other = np.array([[0.0] * 4 + [100.0] + [0.0] * 5])
    assert expected_bins([logits, other], 2)[0, 0] == pytest.approx((2 + 4) / 2)
    with pytest.raises(ValueError, match="rule is 'old'"):
        split_bins(logits, 2, "old")
    with pytest.raises(ValueError, match=r"shape \[1, 10\], expected \[sequences, 3 cells"):
        split_bins(logits, 3)


def test_binned_scores_equal_scikit_learn(rng: np.random.Generator) -> None:
    bins = rng.integers(0, 5, (90, 2)).astype(float)
    bins[5, 0] = np.nan
    p = rng.dirichlet(np.ones(5), (90, 2))
    table = binned_scores(bins, {"m": p}, CELLS, n_resamples=20)
    rows = ~np.isnan(bins[:, 0])
    y, said = bins[rows, 0].astype(int), p[rows, 0].argmax(1)
    assert value(table, "accuracy", "JURKAT") == pytest.approx(sk.accuracy_score(y, said))
    assert value(table, "f1", "JURKAT") == pytest.approx(sk.f1_score(y, said, average="macro"))
    with pytest.raises(ValueError, match="expected distributions"):
        binned_scores(bins, {"m": p * 2}, CELLS)
    with pytest.raises(ValueError, match="for bins 0 to 4"):
        binned_scores(bins, {"m": p[:, :, :4] / p[:, :, :4].sum(-1, keepdims=True)}, CELLS)


SOURCES = {"SuRE": ["K562", "HepG2"], "Sharpr": ["k562_minp_rep1", "k562_minp_rep2", "k562_minp"]}
TARGETS = ["JURKAT", "K562", "THP1"]


def test_transfers_by_name_and_by_the_released_numbers() -> None:
    """The seed's own flag, for SuRE and Sharpr."""
    expected = [Transfer("SuRE", "K562", "K562"), Transfer("Sharpr", "k562_minp", "K562")]
    assert parse_transfers(["SuRE:K562=K562", "Sharpr:k562_minp=K562"], SOURCES, TARGETS) == (
        expected
    )
    assert transfers_by_number("-1,0,-1 -1,2,-1", SOURCES, TARGETS) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SuRE=K562", "expected 'task:output=measured output'"),
        ("SuRE:K562", "expected 'task:output=measured output'"),
        ("Sure:K562=K562", "no task 'Sure', expected one of: SuRE, Sharpr; did you mean 'SuRE'"),
        ("SuRE:K652=K562", "no output of SuRE 'K652', .*; did you mean 'K562'"),
        ("SuRE:K562=HeLa", "no measured output 'HeLa', expected one of: JURKAT, K562, THP1"),
    ],
)
def test_unknown_names_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_transfers([text], SOURCES, TARGETS)


@pytest.mark.parametrize("text", ["-1,0,-1", "-1,0 -1,2", "-1,2,-1 -1,2,-1"])
def test_numbers_that_do_not_fit(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        transfers_by_number(text, SOURCES, TARGETS)


def test_transfer_is_scored_on_the_named_columns(rng: np.random.Generator) -> None:
    values = rng.normal(size=(60, 3))
    values[0, 1] = np.nan
    predictions = {"SuRE": rng.normal(size=(60, 2)), "Sharpr": rng.normal(size=(60, 3))}
    predictions["Sharpr"][:, 2] = 5 * np.nan_to_num(values[:, 1]) + 100
    transfers = parse_transfers(["SuRE:HepG2=THP1", "Sharpr:k562_minp=K562"], SOURCES, TARGETS)
    table = transfer_scores(values, TARGETS, predictions, SOURCES, transfers, n_resamples=20)
    assert table[["task", "source", "target"]].drop_duplicates().to_numpy().tolist() == [
        ["SuRE", "HepG2", "THP1"],
        ["Sharpr", "k562_minp", "K562"],
    ]
    sharpr = table[table["task"] == "Sharpr"].set_index("metric")
    assert sharpr.loc["r", "mean"] == pytest.approx(1)
    assert sharpr.loc["r", "n"] == 59
    sure = table[table["task"] == "SuRE"].set_index("metric")
    expected = np.corrcoef(values[:, 2], predictions["SuRE"][:, 1])[0, 1]
    assert sure.loc["r", "mean"] == pytest.approx(expected)
    assert set(table["metric"]) == {"r", "rho"}
