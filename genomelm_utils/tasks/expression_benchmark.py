"""Do pretrained promoters predict expression better than counting words? The driver of notebook 07.

The same network pretrained and not, a probe of the frozen encoder, and baselines, all trained on
the part `train`, chosen on `valid`, used once on `test`. What draws at random is trained once per
seed, and the mean of its predictions is scored (`evaluation.expression_scores`).

Shapes: S sequences, T tissues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from genomelm_utils.baselines.expression_models import predict_baseline
from genomelm_utils.baselines.expression_names import RANDOM_BASELINES
from genomelm_utils.datasets.expression_controls import permute_labels
from genomelm_utils.datasets.expression_set import PARTS, ExpressionSet
from genomelm_utils.evaluation.expression_scores import Judge, score_methods
from genomelm_utils.evaluation.expression_sentences import keep_control
from genomelm_utils.models.expression_heads import ExpressionOutput
from genomelm_utils.models.florabert import flora_config
from genomelm_utils.tasks.label_transform import OFFSETS, LabelTransform
from genomelm_utils.tasks.regression import RegressionSettings, fine_tune
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.regressor import Regressor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, RobertaConfig

    from genomelm_utils.pipeline.context import Run

PRETRAINED, SCRATCH, PROBE = "pretrained", "scratch", "probe"
CONTROL_BASELINE = "kmer_ridge"  # trained on permuted labels beside the best network
CONTROL_PATIENCE = 2  # epochs; permuted labels teach nothing, so their training may end early
AUTOMATIC = -1  # of the parameter warmup_steps: a tenth of the updates
SCALES = ("none", "corrected", "reference")


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


# --- what the parameters say ---------------------------------------------------------------


def open_promoters(run: "Run") -> ExpressionSet:
    """The promoters that the run's parameter `data` names, with the tissues of `tissues`.

    Tissues stand in the order given; none given: all of the set.
    """
    promoters = ExpressionSet.load(run.parent("data").path("expression"))
    wanted = run.params["tissues"]
    return promoters.select_tissues(wanted) if wanted else promoters


def fit_labels(promoters: ExpressionSet, *, offset: str, scale: str) -> LabelTransform:
    """How expression becomes a label: ln(x + offset), then a scale per tissue.

    offset: of `label_transform.OFFSETS`: 'corrected' adds 1, 'reference' 0.001. scale: 'none';
    'corrected' takes mean and spread of all training rows; 'reference' of the first 10,000, as the
    released preprocessor.
    """
    for name, value, known in (("offset", offset, OFFSETS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    return LabelTransform.fit(
        promoters.select("train").tpm_ST,
        promoters.tissues,
        offset=OFFSETS[offset],
        standardise=scale != "none",
        rows="reference" if scale == "reference" else "corrected",
    )


def read_settings(params: Mapping[str, Any]) -> RegressionSettings:
    """The fine-tuning that a run's parameters describe: those named like `RegressionSettings`.

    `mode` and `threshold` make the `Mode`; warmup_steps below 0: a tenth of the updates.
    """
    known = {field.name for field in fields(RegressionSettings)} - {"mode"}
    chosen = {name: value for name, value in params.items() if name in known}
    if chosen.get("warmup_steps") == AUTOMATIC:
        chosen["warmup_steps"] = None
    mode = Mode(params["mode"], threshold=params["threshold"])
    return RegressionSettings(mode=mode, **chosen)


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


def name_labels(promoters: ExpressionSet, transform: LabelTransform) -> str:
    """What the labels are called on an axis, such as ln(TPM + 1)."""
    return transform.name(promoters.unit if promoters.unit in ("TPM", "FPKM") else "x")


# --- training ------------------------------------------------------------------------------


def random_config(
    preset: str, tokenizer: "PreTrainedTokenizerFast", positions: str
) -> "RobertaConfig":
    """The network that was not pretrained, for the tokenizer's ids and rows."""
    return flora_config(
        preset,
        vocab_size=len(tokenizer),
        max_tokens=tokenizer.model_max_length,
        positions=positions,
    )


def train_networks(
    promoters: ExpressionSet,
    pretrained: Path | None,
    tokenizer: "PreTrainedTokenizerFast",
    transform: LabelTransform,
    settings: RegressionSettings,
    *,
    preset: str,
    positions: str = "corrected",
    seeds: Sequence[int],
    with_probe: bool,
    probe_factor: float = 5.0,
) -> Networks:
    """The pretrained network, the same one with random weights, and the probe, once per seed.

    pretrained: folder of the language model; None trains the network without pretraining alone.
    preset, positions: of the network without pretraining. probe_factor: the probe's learning rate
    is so many times the others', as only its head learns (all of it, from the start).
    """
    random = random_config(preset, tokenizer, positions)
    wanted: dict[str, tuple[Any, RegressionSettings]] = {SCRATCH: (random, settings)}
    if pretrained is not None:
        wanted = {PRETRAINED: (pretrained, settings), **wanted}
        if with_probe:
            wanted[PROBE] = pretrained, replace(
                settings, freeze="encoder", peak_lr=probe_factor * settings.peak_lr,
                layer_decay=1.0, unfreeze_groups=0,
            )  # fmt: skip
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
    """Predictions of networks and baselines for the test part, on the scale of the transform.

    In classification those of networks are probabilities, those of baselines labels.
    """
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


def constant_loss(promoters: ExpressionSet, transform: LabelTransform, mode: Mode) -> float:
    """Validation loss of the best constants of the training part, in the units of the mode.

    What a network that learned nothing has.
    """
    train_ST, valid_ST = (
        mode.targets(promoters.select(part).tpm_ST, transform) for part in ("train", "valid")
    )
    values_BT = torch.from_numpy(mode.start_values(train_ST, transform))
    threshold_T = torch.from_numpy(mode.threshold_labels(transform))
    gate_BT = None
    if mode.output == "sparse":
        on_ST = np.where(np.isnan(train_ST), np.nan, train_ST >= threshold_T.numpy())
        share_T = torch.from_numpy(np.nanmean(on_ST, axis=0)).float().clamp(1e-6, 1 - 1e-6)
        gate_BT = torch.logit(share_T).expand(len(valid_ST), -1)
    output = ExpressionOutput(values_BT.expand(len(valid_ST), -1), gate_BT)
    loss_BT = mode.losses(output, torch.from_numpy(valid_ST), threshold_T)
    return float(loss_BT.sum() / np.count_nonzero(~np.isnan(valid_ST)))


def run_control(
    judge: Judge,
    source: Path | None,
    tokenizer: "PreTrainedTokenizerFast",
    networks: Networks,
    *,
    preset: str,
    positions: str = "corrected",
) -> pd.DataFrame:
    """Both trained and tested on permuted labels: the best network and `CONTROL_BASELINE`.

    The scores that tell of a leak, mean of tissues: skill (classification: AUC) above what chance
    has. Training ends after `CONTROL_PATIENCE` epochs without a lower validation loss.
    """
    permuted = permute_labels(judge.promoters, np.random.default_rng(judge.seed))
    best = networks.best()
    random = best == SCRATCH or source is None
    regressor = fine_tune(
        random_config(preset, tokenizer, positions) if random else source,
        permuted,
        tokenizer=tokenizer if random else None,
        settings=replace(networks.settings[best], patience=CONTROL_PATIENCE),
        transform=judge.transform,
        seed=judge.seed,
    )
    train, test = permuted.select("train"), permuted.select("test")
    baseline = predict_baseline(CONTROL_BASELINE, train, test, judge.transform, judge.seed)
    found = {best: predict(regressor, test), CONTROL_BASELINE: baseline}
    return keep_control(score_methods(judge.with_set(permuted), found))
