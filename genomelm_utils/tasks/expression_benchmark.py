"""Do pretrained promoters predict expression better than counting words? The driver of notebook 07.

The same network pretrained and not, a probe of the frozen encoder, and baselines, all trained on
the part `train`, chosen on `valid`, scored once on `test`. What draws at random is trained once per
seed, and the mean of its predictions is scored; `seed_scores` has every seed alone.

Shapes: S sequences, T tissues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.baselines.expression_models import RANDOM_BASELINES, predict_baseline
from genomelm_utils.datasets.expression_controls import permute_labels
from genomelm_utils.datasets.expression_set import PARTS, ExpressionSet
from genomelm_utils.evaluation.regression import MEAN, compare_models, evaluate, evaluate_lines
from genomelm_utils.models.florabert import flora_config
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression import RegressionSettings, fine_tune
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.regressor import Regressor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from genomelm_utils.pipeline.context import Run

PRETRAINED, SCRATCH, PROBE = "pretrained", "scratch", "probe"
METRICS = ("r2", "R2")
N_RESAMPLES = 500
MAX_NAME = 22  # letters of a tissue's name in a figure
CONTROL_BASELINE = "kmer_ridge"  # trained on permuted labels beside the best network


@dataclass(frozen=True)
class Networks:
    """Trained networks: by_name has one regressor per seed; history: model, seed, run, step,
    train_loss, valid_loss; settings by name."""

    by_name: dict[str, dict[int, Regressor]]
    history: pd.DataFrame
    settings: dict[str, RegressionSettings]

    def best(self) -> str:
        """The network with the lowest validation loss, mean over seeds."""
        lowest = self.history.groupby(["model", "seed"])["valid_loss"].min()
        return str(lowest.groupby("model").mean().idxmin())


@dataclass(frozen=True)
class Predictions:
    """Of the test part, float32 [S, T]: `by_name` (means over seeds) and `by_seed`."""

    by_name: dict[str, np.ndarray]
    by_seed: dict[tuple[str, int], np.ndarray]


def open_promoters(run: "Run") -> ExpressionSet:
    """The promoters that the run's parameter `data` names."""
    return ExpressionSet.load(run.parent("data").path("expression"))


def open_others(run: "Run") -> list[ExpressionSet]:
    """The sets that the run's parameter `plants` names, to pretrain on first."""
    return [ExpressionSet.load(parent.path("expression")) for parent in run.parents("plants")]


def describe_promoters(promoters: ExpressionSet) -> str:
    """A sentence: how many, how long, and how much of the expression was measured."""
    lengths, known = promoters.lengths_bp, np.isfinite(promoters.tpm_ST)
    shares = promoters.genes["part"].value_counts()
    parts = ", ".join(f"{shares.get(part, 0):,} {part}" for part in PARTS)
    return (
        f"{len(promoters):,} promoters ({parts}) of {lengths.min()} to {lengths.max()} bp in "
        f"{len(promoters.tissues)} tissues ({promoters.unit}); {100 * known.mean():.1f} % of the "
        "labels were measured."
    )


def train_networks(
    promoters: ExpressionSet,
    pretrained: Path | None,
    tokenizer: "PreTrainedTokenizerFast",
    transform: LabelTransform,
    *,
    preset: str,
    seeds: Sequence[int],
    with_probe: bool,
    probe_factor: float = 5.0,
    mode: str = "mse",
    **settings: Any,
) -> Networks:
    """The pretrained network, the same one with random weights, and the probe, once per seed.

    pretrained: folder of the language model; None trains the network without pretraining alone.
    probe_factor: the probe's learning rate is so many times the others', as only its head learns.
    mode: see `regression_modes.MODES`. settings: of `RegressionSettings`.
    """
    plain = RegressionSettings(mode=Mode(mode), **settings)
    random = flora_config(preset, vocab_size=len(tokenizer), max_tokens=tokenizer.model_max_length)
    wanted: dict[str, tuple[Any, RegressionSettings]] = {SCRATCH: (random, plain)}
    if pretrained is not None:
        wanted = {PRETRAINED: (pretrained, plain), **wanted}
        if with_probe:
            peak_lr = probe_factor * plain.peak_lr
            wanted[PROBE] = pretrained, replace(plain, freeze="encoder", peak_lr=peak_lr)
    found: dict[str, dict[int, Regressor]] = {}
    histories = []
    for name, (source, chosen) in wanted.items():
        found[name] = {}
        for seed in seeds:
            regressor = fine_tune(
                source,
                promoters,
                tokenizer=None if isinstance(source, Path) else tokenizer,
                settings=chosen,
                transform=transform,
                seed=seed,
            )
            found[name][seed] = regressor
            run = f"{name}, seed {seed}"
            histories.append(regressor.history.assign(model=name, seed=seed, run=run))
    history = pd.concat(histories, ignore_index=True)
    return Networks(found, history, {name: chosen for name, (_, chosen) in wanted.items()})


def predict_all(
    promoters: ExpressionSet,
    networks: Networks,
    baselines: Sequence[str],
    transform: LabelTransform,
    *,
    seeds: Sequence[int],
) -> Predictions:
    """Predictions of networks and baselines for the test part, on the scale of the transform."""
    train, test = promoters.select("train"), promoters.select("test")
    by_seed = {
        (name, seed): predict(regressor, test)
        for name, regressors in networks.by_name.items()
        for seed, regressor in regressors.items()
    }
    for name in baselines:
        for seed in seeds if name in RANDOM_BASELINES else seeds[:1]:
            by_seed[name, seed] = predict_baseline(name, train, test, transform, seed)
    names = dict.fromkeys(name for name, _ in by_seed)
    by_name = {
        name: np.mean([values for (one, _), values in by_seed.items() if one == name], axis=0)
        for name in names
    }
    return Predictions(by_name, by_seed)


def predict(regressor: Regressor, promoters: ExpressionSet) -> np.ndarray:
    """Predictions float32 [S, T] of a network."""
    return regressor.predict(promoters.genes["sequence"].tolist(), promoters.genes["gap_bp"])


def mean_loss(promoters: ExpressionSet, transform: LabelTransform) -> float:
    """Validation loss of the training means: what a network that learned nothing has."""
    center_T = np.nanmean(transform.apply(promoters.select("train").tpm_ST), axis=0)
    return float(np.nanmean((transform.apply(promoters.select("valid").tpm_ST) - center_T) ** 2))


# --- scores --------------------------------------------------------------------------------


def score_methods(
    promoters: ExpressionSet,
    predictions: Mapping[str, np.ndarray],
    transform: LabelTransform,
    *,
    seed: int,
) -> pd.DataFrame:
    """The table of `evaluation.regression.evaluate` for the test part."""
    train, test = promoters.select("train"), promoters.select("test")
    return evaluate(
        test.tpm_ST,
        predictions,
        transform=transform,
        clusters_S=test.genes["cluster"].to_numpy(),
        train_tpm_ST=train.tpm_ST,
        n_resamples=N_RESAMPLES,
        seed=seed,
    )


def score_seeds(
    promoters: ExpressionSet, predictions: Predictions, transform: LabelTransform
) -> pd.DataFrame:
    """Each seed alone, mean of tissues: model, seed, r2, R2 (no intervals)."""
    test = promoters.select("test")
    named = {f"{name}#{seed}": values for (name, seed), values in predictions.by_seed.items()}
    table = evaluate(
        test.tpm_ST,
        named,
        transform=transform,
        clusters_S=test.genes["cluster"].to_numpy(),
        n_resamples=0,
    )
    table = table[(table["tissue"] == MEAN) & table["metric"].isin(METRICS)]
    wide = table.pivot(index="model", columns="metric", values="mean").loc[list(named)]
    keys = pd.DataFrame(list(predictions.by_seed), columns=["model", "seed"])
    return pd.concat([keys, wide[list(METRICS)].reset_index(drop=True)], axis=1)


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """A row per method: r2, R2, rho, mae_tpm and skill with intervals, mean of tissues, as text."""
    rows = scores[scores["tissue"] == MEAN]
    rows = rows[rows["metric"].isin(("r2", "R2", "rho", "mae_tpm", "skill"))]
    text = [f"{r.mean:.3g} [{r.low:.3g}, {r.high:.3g}]" for r in rows.itertuples()]
    wide = rows.assign(text=text).pivot(index="model", columns="metric", values="text")
    return wide.loc[rows["model"].unique()].reset_index()


def shorten_tissues(table: pd.DataFrame) -> pd.DataFrame:
    """The table with long names of tissues cut for figures, still apart from each other."""
    names = table["tissue"].unique()
    short = {name: name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in names}
    seen: dict[str, int] = {}
    for name, cut in short.items():
        seen[cut] = seen.get(cut, 0) + 1
        if seen[cut] > 1:
            short[name] = f"{cut}{seen[cut]}"
    return table.assign(tissue=table["tissue"].map(short))


def score_lines(
    promoters: ExpressionSet, predictions: Mapping[str, np.ndarray], transform: LabelTransform
) -> pd.DataFrame:
    """r2 and R2 per line, mean of tissues: line, model, metric, mean, low, high, n.

    Empty where there is one line only.
    """
    test = promoters.select("test")
    if test.genes["line"].nunique() < 2:
        return pd.DataFrame(columns=["line", "model", "metric", "mean", "low", "high", "n"])
    table = evaluate_lines(
        test.tpm_ST,
        predictions,
        test.genes["line"].tolist(),
        transform=transform,
        clusters_S=test.genes["cluster"].to_numpy(),
        n_resamples=100,
    )
    chosen = (table["tissue"] == MEAN) & table["metric"].isin(METRICS)
    return table[chosen].drop(columns="tissue").reset_index(drop=True)


def compare_best(
    promoters: ExpressionSet,
    predictions: Mapping[str, np.ndarray],
    transform: LabelTransform,
    best: str,
    *,
    seed: int,
) -> pd.DataFrame:
    """The network `best` minus every other method, paired over clusters, mean of tissues.

    Columns model, other, metric, difference, low, high, n.
    """
    test = promoters.select("test")
    ordered = {best: predictions[best], **predictions}  # the best comes first in every pair
    table = compare_models(
        test.tpm_ST,
        ordered,
        transform=transform,
        clusters_S=test.genes["cluster"].to_numpy(),
        metrics=METRICS,
        n_resamples=N_RESAMPLES,
        seed=seed,
    )
    table = table[(table["a"] == best) & (table["tissue"] == MEAN)]
    table = table.rename(columns={"a": "model", "b": "other"}).drop(columns="tissue")
    return table.reset_index(drop=True)


def run_control(
    promoters: ExpressionSet,
    source: Path | None,
    tokenizer: "PreTrainedTokenizerFast",
    transform: LabelTransform,
    networks: Networks,
    *,
    preset: str,
    seed: int,
) -> pd.DataFrame:
    """Both trained and tested on permuted labels: the best network and `CONTROL_BASELINE`.

    The table of scores, mean of tissues; R2 or skill above 0 would be a leak.
    """
    permuted = permute_labels(promoters, np.random.default_rng(seed))
    best = networks.best()
    if best == SCRATCH or source is None:
        start = flora_config(
            preset, vocab_size=len(tokenizer), max_tokens=tokenizer.model_max_length
        )
    else:
        start = source
    regressor = fine_tune(
        start, permuted,
        tokenizer=None if isinstance(start, Path) else tokenizer,
        settings=networks.settings[best], transform=transform, seed=seed,
    )  # fmt: skip
    train, test = permuted.select("train"), permuted.select("test")
    found = {
        best: predict(regressor, test),
        CONTROL_BASELINE: predict_baseline(CONTROL_BASELINE, train, test, transform, seed),
    }
    table = score_methods(permuted, found, transform, seed=seed)
    chosen = (table["tissue"] == MEAN) & table["metric"].isin(("r2", "R2", "skill"))
    return table[chosen].reset_index(drop=True)


# --- sentences -----------------------------------------------------------------------------


def describe_comparison(paired: pd.DataFrame, metric: str = "R2") -> str:
    """A sentence: what the best network beats, what beats it, and what cannot be told apart."""
    rows = paired[(paired["metric"] == metric) & paired["difference"].notna()]
    if rows.empty:
        return f"{metric} is undefined for the methods to compare with."
    told = [f"{rows['model'].iloc[0]}, chosen by validation loss, in {metric} (mean of tissues)"]
    groups = {
        "beats": rows["low"] > 0,
        "is beaten by": rows["high"] < 0,
        "cannot be told from": (rows["low"] <= 0) & (rows["high"] >= 0),
    }
    parts = []
    for words, chosen in groups.items():
        if chosen.any():
            names = [
                f"{row.other} ({row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}])"
                for row in rows[chosen].itertuples()
            ]
            parts.append(f"{words} {', '.join(names)}")
    return f"{told[0]} {'; '.join(parts)}. Intervals: paired over clusters."


def describe_seeds(seeds: pd.DataFrame) -> str:
    """A sentence: how far the seeds of each method lie apart."""
    told = []
    for name, part in seeds.groupby("model", sort=False):
        if len(part) > 1:
            told.append(f"{name} {part['R2'].min():.3f} to {part['R2'].max():.3f}")
    if not told:
        return "One seed: what chance does to a network is not known here."
    return f"R2 of single seeds (mean of tissues): {'; '.join(told)}."


def describe_control(control: pd.DataFrame) -> str:
    """A sentence on permuted labels: whether anything was found where nothing is."""
    rows = control[control["metric"] == "skill"]
    told = [f"{r.model} {r.mean:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in rows.itertuples()]
    leaks = rows.loc[rows["low"] > 0, "model"].tolist()
    verdict = f"{', '.join(leaks)} finds something: a leak." if leaks else "nothing is found."
    return f"Skill against the tissue means on permuted labels: {'; '.join(told)}: {verdict}"
