"""One Lasso per output on features that are not trained: the simplest use of a frozen network.

Shapes: S rows, D features, T outputs.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Source: Reddy et al. 2023, code: penalties tried on the validation rows, iterations, seed.
ALPHAS = tuple(10.0**power for power in range(-5, 2))
MAX_ITERATIONS, SEED = 1000, 97


@dataclass(frozen=True)
class LassoFits:
    """A fitted pipeline (scaling, Lasso) per output, and how its penalty was chosen."""

    models: list
    choice: pd.DataFrame

    def predict(self, features_SD: np.ndarray) -> np.ndarray:
        """float32 [S, T]."""
        return np.column_stack([m.predict(features_SD) for m in self.models]).astype(np.float32)


def fit_lasso(
    features_SD: np.ndarray, labels_ST: np.ndarray, train: np.ndarray, valid: np.ndarray
) -> LassoFits:
    """Features scaled to mean 0 and variance 1, then Lasso; its penalty is the one of `ALPHAS` with
    the highest R2 on validation rows when fitted on training rows, then both are fitted together.

    Rows where an output was not measured are left out of its fit. `choice`: output (number), alpha,
    and whether every fit reached its tolerance. ValueError for an output that validation lacks.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Lasso
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([train, valid])
    fold = np.concatenate([np.full(len(train), -1), np.zeros(len(valid), dtype=np.int64)])
    models, choice = [], []
    for t in range(labels_ST.shape[1]):
        known = np.isfinite(labels_ST[rows, t])
        if not (fold[known] == 0).any() or not (fold[known] == -1).any():
            raise ValueError(
                f"output {t} (0-based) has no label in the training or validation rows"
            )
        lasso = Lasso(max_iter=MAX_ITERATIONS, random_state=SEED)
        pipeline = make_pipeline(StandardScaler(), lasso)
        search = GridSearchCV(
            pipeline, {"lasso__alpha": list(ALPHAS)}, cv=PredefinedSplit(fold[known])
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            search.fit(features_SD[rows[known]], labels_ST[rows[known], t].astype(np.float64))
        reached = not any(issubclass(one.category, ConvergenceWarning) for one in told)
        models.append(search.best_estimator_)
        choice.append(
            {"output": t, "alpha": search.best_params_["lasso__alpha"], "converged": reached}
        )
    return LassoFits(models, pd.DataFrame(choice))
