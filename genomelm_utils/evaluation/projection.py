"""Where do the sequences lie? Embeddings brought down to two dimensions, to be looked at.

Shapes: S sequences, D width.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.feature_rows import unit_rows

PROJECTIONS = ("pca", "tsne")
PERPLEXITY = (
    30.0  # Source: van der Maaten and Hinton 2008, JMLR 9:2579: 5 to 50, default of sklearn
)
NEIGHBOURS_PER_PERPLEXITY = 3  # neighbours t-SNE looks at, per unit of perplexity; same source
MIN_ROWS = 3


def project_features(features_SD: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Places float64 [S, 2] of the sequences on a map, from features scaled to length one.

    Euclidean distances of such rows rise with the angle between them, which is what the clustering
    and the binning go by. The same features and seed give the same map on the same machine; it is
    made by one thread, because sums in another order would lead t-SNE elsewhere.

    A t-SNE map shows neighbours; its distances between groups, and sizes of groups, mean nothing.
    Its perplexity is 30, or less where there are fewer than 91 sequences. Features that are all the
    same have all their places at 0.

    Args:
        features_SD: any numbers, at least 3 rows and 2 columns. method: "pca" or "tsne".
        seed: of t-SNE; without effect on PCA.
    Raises: ValueError for an unknown method, too few rows or columns, features `unit_rows` refuses.
    Source: van der Maaten and Hinton 2008, JMLR 9:2579; start at the PCA: Kobak and Berens 2019,
    Nat Commun 10:5416.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if method not in PROJECTIONS:
        raise ValueError(f"method is {method!r}, expected one of: {', '.join(PROJECTIONS)}")
    rows_SD = unit_rows(features_SD).astype(np.float64)
    if len(rows_SD) < MIN_ROWS or rows_SD.shape[1] < 2:
        raise ValueError(
            f"features have shape {rows_SD.shape}, expected at least {MIN_ROWS} sequences and 2 "
            "columns to draw a map of"
        )
    if np.ptp(rows_SD, axis=0).max() == 0:
        return np.zeros((len(rows_SD), 2))  # t-SNE would divide by their spread
    rows_SD -= rows_SD.mean(0)  # an untrained network's rows differ only far behind the point
    with threadpool_limits(1):
        if method == "pca":
            return PCA(2, svd_solver="full").fit_transform(rows_SD)
        perplexity = min(PERPLEXITY, (len(rows_SD) - 1) / NEIGHBOURS_PER_PERPLEXITY)
        model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        return model.fit_transform(rows_SD).astype(np.float64)


def project_methods(
    features: Mapping[str, np.ndarray],
    labels: Sequence[Hashable] | np.ndarray,
    projections: Sequence[str] = PROJECTIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per projection, method and sequence: projection, method, species, x, y.

    features: name of a method -> its features [S, D]. labels: species of the S sequences, which are
    the same, in the same order, for all methods.
    """
    parts = []
    for projection in projections:
        for method, features_SD in features.items():
            places_S2 = project_features(features_SD, projection, seed)
            if len(places_S2) != len(labels):
                raise ValueError(
                    f"{method}: {len(places_S2)} feature rows for {len(labels)} species labels, "
                    "expected one row per label"
                )
            part = {"projection": projection, "method": method, "species": labels}
            parts.append(pd.DataFrame(part | {"x": places_S2[:, 0], "y": places_S2[:, 1]}))
    if not parts:
        raise ValueError("no features or no projections given, expected at least one of each")
    return pd.concat(parts, ignore_index=True)
