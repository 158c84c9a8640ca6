"""Which bases a trained model's output hangs on: one call for every method and every model.

`attribute(model, codes, method)` explains one number per sequence (the log odds of a class, or a
value) and gives a score per token and per base. `model` is an `Explained`, made by
`explained_tokens` or `explained_bases`.

integrated_gradients  sums to the difference from the baseline (Sundararajan 2017, arXiv:1703.01365)
deeplift              rescale rule, sums likewise, where the network allows it (Shrikumar 2017,
                      arXiv:1704.02685); refused where it does not sum up
saliency              |gradient| (Simonyan 2014, arXiv:1312.6034): a size without a sign
occlusion             what is lost where tokens are replaced by the baseline (Zeiler 2014,
                      arXiv:1311.2901); bases by N for a black box
mutagenesis           what is lost when a base is replaced by another, mean of three: per base

The first four are captum's. Scores are signed towards the explained output, but for saliency.

Shapes: S sequences, R rows, B rows of a batch, L positions, D width, C outputs.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from genomelm_utils.interpretation.captum_methods import (
    ScoredRows,
    check_deeplift,
    integrate,
    run_method,
)
from genomelm_utils.interpretation.explained import (
    BASELINES,
    Explained,
    Inputs,
    Rows,
    pick_scale,
    pick_targets,
    ready,
    score_table,
    spread_to_bases,
)
from genomelm_utils.interpretation.mutagenesis import mutagenesis_scores, occlude_bases
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.shuffle import shuffle_dinucleotides
from genomelm_utils.tasks.windows import Codes, batch_by_length
from genomelm_utils.training.device import choose_device

logger = logging.getLogger(__name__)

METHODS = ("integrated_gradients", "deeplift", "saliency", "occlusion", "mutagenesis")
COMPLETE = ("integrated_gradients", "deeplift")  # sum to the difference from the baseline
STEPS = 50  # Source: genomeNLP's `interpret`, captum's default
N_SHUFFLES = 10  # Source: DeepLIFT's genomics tutorial uses 10 shuffled references a sequence
TOKENS_PER_BATCH = 1024  # positions of a batch; integrated gradients holds `steps` times as many
TOKEN_COLUMNS = ("sequence", "row", "position", "token", "start", "end", "score")


@dataclass(frozen=True)
class Attribution:
    """Scores of one method.

    table: one row per sequence: sequence, target, output, value (what is explained), baseline_value
    (at the baseline; NaN for methods without one), total (sum of the scores), gap (total less the
    difference of the two values: 0 where a method is complete). tokens: one row per token:
    sequence, row, position, token, start, end, score; special tokens have start = end. base:
    float64 [L] of every sequence, in which each token's score is spread over its bases.
    """

    method: str
    scale: str
    baseline: str
    table: pd.DataFrame
    tokens: pd.DataFrame
    base: list[np.ndarray]

    def normalise(self) -> "Attribution":
        """The same with each sequence's token scores divided by their L2 norm, as genomeNLP shows.

        Completeness is lost: `gap` is NaN.
        """
        squares = self.tokens["score"].pow(2).groupby(self.tokens["sequence"]).transform("sum")
        norm_N = np.sqrt(squares).replace(0, 1)
        norm_S = norm_N.groupby(self.tokens["sequence"]).first()
        norm_S = norm_S.reindex(range(len(self.base)), fill_value=1.0).to_numpy()
        return replace(
            self,
            tokens=self.tokens.assign(score=self.tokens["score"] / norm_N),
            table=self.table.assign(total=self.table["total"] / norm_S, gap=np.nan),
            base=[one / norm for one, norm in zip(self.base, norm_S, strict=True)],
        )


def attribute(
    model: Explained,
    codes: Codes,
    method: str = "integrated_gradients",
    *,
    target: str | int | Sequence[int] | None = None,
    scale: str | None = None,
    baseline: str = "mean",
    steps: int = STEPS,
    window: int | None = None,
    n_shuffles: int = N_SHUFFLES,
    seed: int = 0,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Attribution:
    """Scores of every token and base of these sequences.

    codes: uint8 [S, L] or a list of uint8 [L]. method: one of `METHODS`. target: what is explained,
    see `pick_targets`. scale: see `explained.SCALES`. baseline: see `Explained.inputs`; 'shuffle'
    takes `n_shuffles` dinucleotide shuffles of each sequence (`seed`) and averages, for models with
    a position per base. steps: of integrated gradients (Gauss-Legendre); sequences whose sum misses
    the difference are run again with 4 and 16 times as many. window: positions (bases,
    for a black box) that occlusion takes away at a time, by default the model's.

    A sequence longer than the model's positions is read in windows, as in use; explained is then
    the mean of the windows (for two classes exactly the log odds of the prediction).

    Raises: ValueError for options out of range; for DeepLIFT on a network whose products or
        attention its rule does not cover; for gradients of a network that lets none through.
    """
    _check(codes, method, baseline, steps, n_shuffles)
    scale = pick_scale(model, scale)
    outputs_SC = model.predict(codes)
    target_S = pick_targets(model, outputs_SC, target)
    if method == "mutagenesis" or (method == "occlusion" and model.module is None):
        return _by_prediction(model, codes, method, outputs_SC, target_S, scale, window or 1)
    rows = model.rows(codes)
    if baseline == "shuffle":
        found = _over_shuffles(
            model, codes, rows, method, target_S, scale, steps, window, n_shuffles, seed,
            tokens_per_batch,
        )  # fmt: skip
    else:
        found = _score_rows(
            model, rows, rows, method, target_S, scale, baseline, steps, window, tokens_per_batch
        )
    return _assemble(model, rows, found, method, scale, baseline, target_S)


def attribute_as_released(model: Explained, codes: Codes) -> Attribution:
    """genomeNLP's computation: the probability of the predicted class, against a row of padding, 50
    steps, token scores divided by their L2 norm.

    With `TokenClassifier(..., specials="reference")` also its two tokens that the model was never
    trained on. The released page then shows the predicted label as the true one; ours does not.
    Source: transformers-interpret 0.8.1, `SequenceClassificationExplainer`, as genomeNLP calls it.
    """
    return attribute(model, codes, scale="probability", baseline="pad", steps=STEPS).normalise()


@dataclass(frozen=True)
class _Found:
    """scores: [positions] of each row. value_R, baseline_R: what is explained, at both ends."""

    scores: list[np.ndarray]
    value_R: np.ndarray
    baseline_R: np.ndarray


def _score_rows(
    model: Explained,
    rows: Rows,
    baseline_rows: Rows,
    method: str,
    target_S: np.ndarray,
    scale: str,
    baseline: str,
    steps: int,
    window: int | None,
    tokens_per_batch: int,
) -> _Found:
    """Scores of all rows; `baseline_rows` are `rows`, or as many rows of shuffled sequences."""
    scores: list[np.ndarray] = [np.empty(0)] * len(rows)
    value_R, baseline_R = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    place, _ = choose_device()
    if place.type == "mps":  # captum computes in float64, which Apple's GPU has not
        place = torch.device("cpu")
    scored = ScoredRows(model, scale)
    with ready(model.module, place):
        for chosen_B in batch_by_length(rows.length_R, tokens_per_batch):
            batch = _to(model.inputs(rows, chosen_B, baseline), place)
            if baseline_rows is not rows:
                other = _to(model.inputs(baseline_rows, chosen_B, baseline), place)
                if other.x_BLD.shape != batch.x_BLD.shape:
                    raise ValueError(
                        "a shuffled sequence has other tokens than the sequence itself, so they do "
                        "not line up; take another baseline for this tokenizer"
                    )
                batch = replace(batch, baseline_BLD=other.x_BLD)
            targets_B = torch.from_numpy(target_S[rows.sequence_R[chosen_B]]).to(place)
            extras = (targets_B, *batch.extras)
            with torch.no_grad():
                value_R[chosen_B] = scored(batch.x_BLD, *extras).double().cpu().numpy()
                if method != "saliency":
                    start_B = scored(batch.baseline_BLD, *extras)
                    baseline_R[chosen_B] = start_B.double().cpu().numpy()
            window = window or model.occlusion_window
            ends_B2 = np.stack([value_R[chosen_B], baseline_R[chosen_B]], axis=1)
            if method == "integrated_gradients":
                found_BL = integrate(scored, batch, extras, ends_B2, steps)
            else:
                found_BL = run_method(method, scored, batch, extras, steps, window)
            if method == "deeplift":
                check_deeplift(found_BL, ends_B2[:, 0] - ends_B2[:, 1], model)
            for row, first, score_L in zip(chosen_B, batch.first_B, found_BL, strict=True):
                scores[row] = score_L[first : first + rows.length_R[row]]
    return _Found(scores, value_R, baseline_R)


def _over_shuffles(
    model, codes, rows, method, target_S, scale, steps, window, n_shuffles, seed, budget
) -> _Found:
    """The mean over baselines that are shuffles of each sequence itself."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_shuffles):
        shuffled = [_shuffle(np.asarray(one), rng) for one in codes]
        others = model.rows(shuffled)
        if not np.array_equal(others.length_R, rows.length_R):
            raise ValueError(
                "baseline 'shuffle' needs a position per base (k-mers, one-hot codes): shuffled "
                "sequences have another number of tokens here; take 'mean', 'pad' or 'mask'"
            )
        found.append(
            _score_rows(
                model, rows, others, method, target_S, scale, "shuffle", steps, window, budget
            )
        )
    scores = [np.mean(same, axis=0) for same in zip(*(one.scores for one in found), strict=True)]
    return _Found(scores, found[0].value_R, np.mean([one.baseline_R for one in found], axis=0))


def _shuffle(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dinucleotide shuffle; ambiguous bases stay where they are."""
    if (codes >= N_BASES).any():
        shuffled = codes.copy()
        definite = codes < N_BASES
        shuffled[definite] = rng.permutation(codes[definite])
        return shuffled
    return shuffle_dinucleotides(codes[None], rng)[0]


def _assemble(
    model: Explained,
    rows: Rows,
    found: _Found,
    method: str,
    scale: str,
    baseline: str,
    target_S: np.ndarray,
) -> Attribution:
    """Rows of a sequence averaged, tokens named, scores spread over bases."""
    n = len(rows.lengths_S)
    weight_R = rows.weight_R
    base = [np.zeros(length) for length in rows.lengths_S]
    weighted = [score * weight for score, weight in zip(found.scores, weight_R, strict=True)]
    for row, score_L in enumerate(weighted):
        s = rows.sequence_R[row]
        base[s] += spread_to_bases(score_L, rows.spans[row], rows.lengths_S[s])
    totals_R = np.array([score.sum() for score in weighted])
    summed = {
        name: np.bincount(rows.sequence_R, weights=values, minlength=n)
        for name, values in (
            ("value", found.value_R * weight_R),
            ("baseline_value", found.baseline_R * weight_R),
            ("total", totals_R),
        )
    }
    table = _table(model, target_S, **summed)
    positions = [np.arange(length) for length in rows.length_R]
    spans_N2 = np.concatenate(rows.spans)
    tokens = pd.DataFrame(
        {
            "sequence": np.repeat(rows.sequence_R, rows.length_R),
            "row": np.repeat(np.arange(len(rows)), rows.length_R),
            "position": np.concatenate(positions),
            "token": [text for texts in rows.texts for text in texts],
            "start": spans_N2[:, 0],
            "end": spans_N2[:, 1],
            "score": np.concatenate(weighted),
        }
    )
    kept = "none" if method == "saliency" else baseline
    return Attribution(method, scale, kept, table, tokens[list(TOKEN_COLUMNS)], base)


def _by_prediction(
    model: Explained,
    codes: Codes,
    method: str,
    outputs_SC: np.ndarray,
    target_S: np.ndarray,
    scale: str,
    window: int,
) -> Attribution:
    """Methods that only predict changed sequences; tokens are single bases."""
    if method == "mutagenesis":
        base = mutagenesis_scores(model, codes, target_S, scale)
    else:
        base = occlude_bases(model, codes, target_S, scale, window)
    values = score_table(outputs_SC, target_S, scale)
    totals = np.array([np.nansum(one) for one in base])
    table = _table(model, target_S, values, np.full(len(base), np.nan), totals)
    lengths = [len(one) for one in base]
    start_N = np.concatenate([np.arange(length) for length in lengths])
    letters = np.array(list("ACGTRYSWKMBDHVN"))
    flat = np.concatenate([np.asarray(one) for one in codes])
    tokens = pd.DataFrame(
        {
            "sequence": np.repeat(np.arange(len(base)), lengths),
            "row": np.repeat(np.arange(len(base)), lengths),
            "position": start_N,
            "token": letters[flat],
            "start": start_N,
            "end": start_N + 1,
            "score": np.concatenate(base),
        }
    )
    rule = "other bases" if method == "mutagenesis" else "N"
    return Attribution(method, scale, rule, table, tokens[list(TOKEN_COLUMNS)], base)


def _table(model: Explained, target_S, value, baseline_value, total) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sequence": np.arange(len(target_S)),
            "target": target_S,
            "output": [model.outputs[t] for t in target_S],
            "value": value,
            "baseline_value": baseline_value,
            "total": total,
            "gap": total - (value - baseline_value),
        }
    )


def _to(batch: Inputs, place: torch.device) -> Inputs:
    moved: list[Any] = [one.to(place) for one in (batch.x_BLD, batch.baseline_BLD, batch.read_BL)]
    return Inputs(*moved, batch.first_B, tuple(one.to(place) for one in batch.extras))


def _check(codes: Codes, method: str, baseline: str, steps: int, n_shuffles: int) -> None:
    for name, value, known in (("method", method, METHODS), ("baseline", baseline, BASELINES)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    if steps < 1 or n_shuffles < 1:
        raise ValueError(f"steps is {steps}, n_shuffles {n_shuffles}, expected at least 1 of each")
    if not len(codes):
        raise ValueError("no sequences, expected at least one")
