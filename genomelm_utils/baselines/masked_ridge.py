"""Linear and ridge regression of many outputs with missing labels, alpha chosen inside training.

One fit serves one mask: outputs that were measured on the same rows are solved together, others
apart, so no row is dropped and no label made up. Whichever is smaller is inverted, the features'
or the rows' product, so 16,000 k-mers of a few thousand promoters take seconds, and a few hundred
k-mers of a million promoters too. The intercept is not penalised. Beyond the features as given
(float32) memory holds two such products and blocks of rows.

Shapes: S rows, F features, T outputs (tissues), A alphas.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.splits import split_by_group

logger = logging.getLogger(__name__)

#: Ridge penalties, as multiples of the number of features that vary. With standardised features the
#: best multiple is about (1 - R2) / R2: 0.1 is for an R2 of 0.9, 1000 for one of 0.001.
#: Source: ridge as the posterior mean under equal prior variances, Hoerl & Kennard 1970,
#: Technometrics 12:55; the ratio of noise to signal variance per feature.
ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
N_FOLDS = 5
_BLOCK_ROWS = 8192  # rows scaled at a time
_BLOCK_COLUMNS = 2048  # features joined at a time in a product of rows
_RANK = 1e-12  # share of the largest eigenvalue below which one is taken for rounding error
_FLAT = 1e-8  # spread (in units of a feature) below which a feature is a constant


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear model: `predict` scales, weighs and adds.

    center_F, scale_F: float64 [F], what is taken off and multiplied with; scale 0 leaves a feature
    out. weights_FT: float64 [F, T]. intercept_T: float64 [T]. alpha: the ridge penalty in use, 0
    for plain least squares. choice: one row per alpha tried (alpha, error, chosen), or empty.
    """

    center_F: np.ndarray
    scale_F: np.ndarray
    weights_FT: np.ndarray
    intercept_T: np.ndarray
    alpha: float
    choice: pd.DataFrame

    def predict(self, features_SF: np.ndarray) -> np.ndarray:
        """Predictions float32 [S, T] for rows of the features that the model was fitted on."""
        if features_SF.ndim != 2 or features_SF.shape[1] != len(self.center_F):
            raise ValueError(
                f"features have shape {features_SF.shape}, expected [S, {len(self.center_F)}] as "
                "in the fit"
            )
        weights_FT = self.weights_FT * self.scale_F[:, None]
        offset_T = self.intercept_T - self.center_F @ weights_FT
        return (features_SF @ weights_FT.astype(np.float32) + offset_T).astype(np.float32)


class _Design:
    """Scaled features, and the equations of a fit on some of their rows.

    Features or rows, whichever are fewer, are multiplied with each other: `primal` solves for the
    weights of features, otherwise (`dual`) for those of rows, from products made once. Features
    stay as they were given; scaled ones exist for a block at a time.
    """

    def __init__(self, features_SF: np.ndarray, standardised: bool) -> None:
        self.features_SF = features_SF
        self.center_F, self.scale_F = _scales(features_SF, standardised)
        self.primal = features_SF.shape[1] <= len(features_SF) / 2
        if not self.primal:
            self.products_SS = self._multiply_rows()

    def system(
        self, y_ST: np.ndarray, fitted: np.ndarray, held: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """(matrix, right, evaluate) for centred labels y_ST of the rows `fitted`: predictions at
        the rows `held` are evaluate((matrix + alpha I)^-1 @ right)."""
        if self.primal:
            return self._multiply_features(y_ST, fitted, held)
        inside = self.products_SS[np.ix_(fitted, fitted)]
        across = self.products_SS[np.ix_(held, fitted)]
        mean_S = inside.mean(0)
        inside += mean_S.mean() - mean_S - mean_S[:, None]
        across += mean_S.mean() - mean_S - across.mean(1, keepdims=True)
        return inside, y_ST, lambda solved: across @ solved

    def _multiply_features(
        self, y_ST: np.ndarray, fitted: np.ndarray, held: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        n_features = len(self.center_F)
        mean_F = np.zeros(n_features)
        for rows in _row_blocks(fitted):
            mean_F += self._scaled(slice(None), rows).sum(0)
        mean_F /= max(len(fitted), 1)
        matrix, right = np.zeros((n_features, n_features)), np.zeros((n_features, y_ST.shape[1]))
        for begin, rows in zip(
            range(0, len(fitted), _BLOCK_ROWS), _row_blocks(fitted), strict=True
        ):
            x_SF = self._scaled(slice(None), rows) - mean_F
            matrix += x_SF.T @ x_SF
            right += x_SF.T @ y_ST[begin : begin + len(rows)]

        def evaluate(solved_FT: np.ndarray) -> np.ndarray:
            parts = [(self._scaled(slice(None), r) - mean_F) @ solved_FT for r in _row_blocks(held)]
            return np.concatenate([np.zeros((0, solved_FT.shape[1])), *parts])

        return matrix, right, evaluate

    def weigh(self, rows: np.ndarray, solved: np.ndarray) -> np.ndarray:
        """Weights of scaled features, float64 [F, T], from what was solved for these rows."""
        if self.primal:
            return solved
        weights_FT = np.empty((len(self.center_F), solved.shape[1]))
        for block in self._blocks():
            weights_FT[block] = self._scaled(block, rows).T @ solved
        return weights_FT

    def _multiply_rows(self) -> np.ndarray:
        n_rows = len(self.features_SF)
        products_SS = np.zeros((n_rows, n_rows))
        for block in self._blocks():
            x_SF = self._scaled(block, slice(None))
            products_SS += x_SF @ x_SF.T
        return products_SS

    def _blocks(self) -> Iterator[slice]:
        for begin in range(0, self.features_SF.shape[1], _BLOCK_COLUMNS):
            yield slice(begin, begin + _BLOCK_COLUMNS)

    def _scaled(self, block: slice, rows: np.ndarray | slice) -> np.ndarray:
        return (self.features_SF[rows, block] - self.center_F[block]) * self.scale_F[block]


def fit_linear(
    features_SF: np.ndarray,
    labels_ST: np.ndarray,
    alpha: float = 0.0,
    *,
    standardised: bool = False,
) -> LinearFit:
    """Least squares (alpha 0) or ridge, per output over the rows where its label is not NaN.

    Of the many least-squares solutions where rows are fewer than features the one with the smallest
    weights is taken, as scikit-learn's `LinearRegression` does; it goes through every training
    label and is no estimate to trust (k = 5 on a thousand promoters).

    Args:
        features_SF: finite numbers. labels_ST: NaN = not measured.
        alpha: penalty on the sum of squared weights, >= 0. standardised: features to mean 0,
            variance 1 first (a constant one is left out); raw otherwise.
    Raises: ValueError for shapes that do not fit, features that are not finite, a negative alpha,
        or an output with fewer than two labels (its number is named).
    """
    _check(features_SF, labels_ST)
    if not alpha >= 0:
        raise ValueError(f"alpha is {alpha}, expected a number of at least 0")
    design = _Design(features_SF, standardised)
    return _fit_all(design, labels_ST, alpha, pd.DataFrame(columns=["alpha", "error", "chosen"]))


def _fit_all(
    design: _Design, labels_ST: np.ndarray, alpha: float, choice: pd.DataFrame
) -> LinearFit:
    """One fit per mask, put together."""
    n_features, n_outputs = design.features_SF.shape[1], labels_ST.shape[1]
    weights_FT, intercept_T = np.zeros((n_features, n_outputs)), np.zeros(n_outputs)
    for rows, outputs in group_masks(labels_ST):
        y_ST = labels_ST[np.ix_(rows, outputs)].astype(np.float64)
        mean_T = y_ST.mean(0)
        matrix, right, _ = design.system(y_ST - mean_T, rows, rows[:0])
        weights_FT[:, outputs] = design.weigh(rows, _solve(matrix, right, alpha))
        mean_F = _mean_rows(design.features_SF, rows)
        scaled_F = (mean_F - design.center_F) * design.scale_F
        intercept_T[outputs] = mean_T - scaled_F @ weights_FT[:, outputs]
    scales = design.center_F, design.scale_F
    return LinearFit(*scales, weights_FT, intercept_T, float(alpha), choice)


def fit_ridge(
    features_SF: np.ndarray,
    labels_ST: np.ndarray,
    clusters_S: Sequence[object] | np.ndarray,
    seed: int,
    *,
    alphas: Sequence[float] = ALPHAS,
    n_folds: int = N_FOLDS,
) -> LinearFit:
    """Ridge on standardised features, its penalty chosen by cross-validation inside these rows.

    Whole clusters are dealt to the folds, so a relative of a held-out row never helps to choose;
    rows of the test set have no part in it at all. One alpha serves all outputs: the one with the
    lowest held-out squared error, each output's in units of its variance. `choice` of the fit has
    the whole curve, and a best alpha at the end of the grid is told in the log.

    Args:
        clusters_S: one label per row. alphas: multiples of the number of features that vary.
        n_folds: folds, or as many as there are clusters.
    Raises: ValueError as `fit_linear`, or for fewer than two clusters.
    """
    _check(features_SF, labels_ST)
    folds = _deal_folds(np.asarray(clusters_S), len(features_SF), n_folds, seed)
    design = _Design(features_SF, standardised=True)
    n_varied = max(np.count_nonzero(design.scale_F), 1)
    penalties_A = np.array(alphas, dtype=np.float64) * n_varied
    choice = _score_penalties(design, labels_ST, folds, penalties_A)
    alpha = float(choice.loc[choice["chosen"], "alpha"].iloc[0])
    if len(choice) > 1 and choice["chosen"].to_numpy()[[0, -1]].any():
        logger.info("the best ridge penalty, %g, is at the end of the grid", alpha)
    return _fit_all(design, labels_ST, alpha, choice)


def _score_penalties(
    design: _Design, labels_ST: np.ndarray, folds: list[np.ndarray], penalties_A: np.ndarray
) -> pd.DataFrame:
    """One row per alpha: alpha, error (held out, mean over outputs, 1 = the mean's), chosen."""
    squares_AT = np.zeros((len(penalties_A), labels_ST.shape[1]))
    mean_squares_T = np.zeros(labels_ST.shape[1])
    for rows, outputs in group_masks(labels_ST):
        for fold in folds:
            held = np.intersect1d(rows, fold, assume_unique=True)
            fitted = np.setdiff1d(rows, fold, assume_unique=True)
            if len(fitted) < 2 or not len(held):
                continue  # all labels of these outputs are in one fold: they cannot tell
            y_ST, held_ST = labels_ST[np.ix_(fitted, outputs)], labels_ST[np.ix_(held, outputs)]
            mean_T = y_ST.mean(0, dtype=np.float64)
            mean_squares_T[outputs] += np.square(held_ST - mean_T).sum(0)
            matrix, right, evaluate = design.system(y_ST - mean_T, fitted, held)
            for a, alpha in enumerate(penalties_A):
                missed_ST = held_ST - mean_T - evaluate(_solve(matrix, right, alpha))
                squares_AT[a, outputs] += np.square(missed_ST).sum(0)
    if not (mean_squares_T > 0).any():
        raise ValueError("no output varies over the training rows, expected labels to learn from")
    varied = mean_squares_T > 0
    error_A = (squares_AT[:, varied] / mean_squares_T[varied]).mean(1)
    chosen = np.arange(len(error_A)) == np.argmin(error_A)
    return pd.DataFrame({"alpha": penalties_A, "error": error_A, "chosen": chosen})


def group_masks(labels_ST: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, outputs) of every distinct mask: outputs measured on exactly the same rows.

    ValueError names the first output with fewer than two labels.
    """
    known_TS = np.isfinite(labels_ST).T
    counts_T = known_TS.sum(1)
    if counts_T.min() < 2:
        t = int(counts_T.argmin())
        raise ValueError(
            f"output {t} (0-based) has {counts_T[t]} labels in {len(labels_ST)} training rows, "
            "expected at least 2; leave the tissue out"
        )
    masks, group_T = np.unique(known_TS, axis=0, return_inverse=True)
    for g, mask in enumerate(masks):
        yield np.flatnonzero(mask), np.flatnonzero(group_T.ravel() == g)


def _solve(matrix: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """(matrix + alpha I)^-1 right for a positive semi-definite matrix; its pseudo-inverse at 0."""
    from scipy.linalg import cho_factor, cho_solve, eigh

    if alpha > 0:
        shifted = matrix + alpha * np.eye(len(matrix))
        return cho_solve(cho_factor(shifted, overwrite_a=True, check_finite=False), right)
    values, vectors = eigh(matrix, check_finite=False)
    floor = values.max(initial=0.0) * _RANK
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    return vectors @ (inverse[:, None] * (vectors.T @ right))


def _scales(features_SF: np.ndarray, standardised: bool) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each feature, float64 [F]; scales are 1 for raw features."""
    every = np.arange(len(features_SF))
    center_F = _mean_rows(features_SF, every)  # keeps products of rows free of cancellation
    if not standardised:
        return center_F, np.ones(len(center_F))
    squares_F = np.zeros(len(center_F))
    for rows in _row_blocks(every):
        squares_F += np.square(features_SF[rows] - center_F).sum(0)
    spread_F = np.sqrt(squares_F / len(features_SF))
    scale_F = np.where(spread_F > _FLAT, 1 / np.maximum(spread_F, _FLAT), 0.0)
    return center_F, scale_F


def _mean_rows(features_SF: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64 [F]: the mean of some rows, block by block."""
    sums_F = np.zeros(features_SF.shape[1])
    for block in _row_blocks(rows):
        sums_F += features_SF[block].sum(0, dtype=np.float64)
    return sums_F / max(len(rows), 1)


def _row_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers, `_BLOCK_ROWS` at a time."""
    for begin in range(0, len(rows), _BLOCK_ROWS):
        yield rows[begin : begin + _BLOCK_ROWS]


def _deal_folds(clusters_S: np.ndarray, n_rows: int, n_folds: int, seed: int) -> list[np.ndarray]:
    """Row numbers of each fold; all rows of a cluster are in one."""
    if clusters_S.shape != (n_rows,):
        raise ValueError(f"clusters have shape {clusters_S.shape}, expected one per row: {n_rows}")
    n_folds = min(n_folds, len(np.unique(clusters_S)))
    if n_folds < 2:
        raise ValueError(
            f"{n_rows} training rows are in {n_folds} cluster, expected at least two to choose the "
            "ridge penalty; cluster the promoters first, or number the rows to treat them as "
            "unrelated"
        )
    shares = {str(i): 1 / n_folds for i in range(n_folds)}
    return list(split_by_group(clusters_S, shares, np.random.default_rng(seed)).values())


def _check(features_SF: np.ndarray, labels_ST: np.ndarray) -> None:
    same_rows = labels_ST.ndim == features_SF.ndim == 2 and len(features_SF) == len(labels_ST)
    if not same_rows or not labels_ST.size or not features_SF.size:
        raise ValueError(
            f"features {features_SF.shape} and labels {labels_ST.shape}, expected [S, F] and "
            "[S, T] with the same S, none of them 0"
        )
    for rows in _row_blocks(np.arange(len(features_SF))):
        wrong = ~np.isfinite(features_SF[rows])
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            row += rows[0]
            raise ValueError(
                f"feature {column} of row {row} is {features_SF[row, column]}, expected a number"
            )
