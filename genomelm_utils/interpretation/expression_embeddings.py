"""Where promoters and tissues lie in a model: tables for a map, files for TensorBoard's projector,
species centroids and how much of them is composition.

A promoter's embedding is the head's last activation z; a tissue's is its row of the last layer's
weights. Prediction is their product, so both live in one space: a promoter is expressed in the
tissues that it points to.

Shapes: S promoters, T tissues, D width, B batch, L ids, G species.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from genomelm_utils.evaluation.projection import project_features

KINDS = ("promoter", "tissue")
PROJECTOR_FILES = ("tensors.tsv", "metadata.tsv", "projector_config.pbtxt")


def stack_embeddings(
    promoters_SD: np.ndarray,
    tissues_TD: np.ndarray,
    genes: pd.DataFrame,
    tissues: Sequence[str],
    *,
    n_promoters: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Promoters above tissues: float32 [S + T, D], and one row of names for each.

    The names: kind ('promoter' or 'tissue'), name (gene or tissue), line and sequence (empty for
    tissues). n_promoters: that many, drawn without replacement from `seed`, in their order; all
    where there are not more. genes: as in an `ExpressionSet`.
    Raises: ValueError for rows, names or widths that do not fit each other.
    """
    _check_width(promoters_SD, tissues_TD)
    if len(promoters_SD) != len(genes) or len(tissues_TD) != len(tissues):
        raise ValueError(
            f"{len(promoters_SD)} promoter and {len(tissues_TD)} tissue embeddings for "
            f"{len(genes)} genes and {len(tissues)} tissues, expected one for each"
        )
    rows = np.arange(len(genes))
    if n_promoters is not None and n_promoters < len(genes):
        rows = np.sort(np.random.default_rng(seed).choice(rows, n_promoters, replace=False))
    chosen = genes.iloc[rows]
    names = pd.DataFrame(
        {
            "kind": [KINDS[0]] * len(rows) + [KINDS[1]] * len(tissues),
            "name": [*chosen["gene_id"], *tissues],
            "line": [*chosen["line"], *[""] * len(tissues)],
            "sequence": [*chosen["sequence"], *[""] * len(tissues)],
        }
    )
    return np.vstack([promoters_SD[rows], tissues_TD]).astype(np.float32), names


def write_projector(folder: str | Path, rows_ND: np.ndarray, names: pd.DataFrame) -> Path:
    """Files that `tensorboard --logdir FOLDER` shows under "Projector"; the folder.

    `tensors.tsv` (one row per embedding, no header), `metadata.tsv` (the columns of `names`, with
    a header) and `projector_config.pbtxt`. Other files of the folder are left alone.
    Raises: ValueError for names that do not fit, or a text with a tab or line break.
    Source: TensorBoard's embedding projector plugin, its documented file format.
    """
    folder = Path(folder)
    if len(rows_ND) != len(names) or names.shape[1] < 2:
        raise ValueError(
            f"{len(rows_ND)} embeddings and names of shape {names.shape}, expected a row of names "
            "for each, of at least two columns (the projector reads one column without a header)"
        )
    texts = names.astype(str)
    broken = texts.apply(lambda column: column.str.contains(r"[\t\r\n]")).any(axis=1)
    if broken.any():
        raise ValueError(f"row {int(broken.argmax())} of the names holds a tab or a line break")
    folder.mkdir(parents=True, exist_ok=True)
    tensors, metadata, config = (folder / name for name in PROJECTOR_FILES)
    np.savetxt(tensors, rows_ND, fmt="%.7g", delimiter="\t")
    texts.to_csv(metadata, sep="\t", index=False, lineterminator="\n")
    entries = {
        "tensor_name": "promoters and tissues",
        "tensor_path": tensors.name,
        "metadata_path": metadata.name,
    }
    lines = [f"  {key}: {json.dumps(value)}" for key, value in entries.items()]
    config.write_text("\n".join(["embeddings {", *lines, "}"]) + "\n", encoding="utf-8")
    return folder


def map_embeddings(
    rows_ND: np.ndarray, names: pd.DataFrame, projection: str = "pca", seed: int = 0
) -> pd.DataFrame:
    """`names` with x and y, places on a map of the embeddings (see `evaluation.projection`)."""
    places_N2 = project_features(rows_ND, projection, seed)
    return names.assign(projection=projection, x=places_N2[:, 0], y=places_N2[:, 1])


def mean_of_tokens(
    hidden_BLD: torch.Tensor,
    ids_BL: torch.Tensor,
    mask_BL: torch.Tensor,
    special_ids: Sequence[int],
) -> torch.Tensor:
    """Mean hidden state of each row over its tokens, padding and special ids left out: [B, D].

    ValueError names the first row without any token.
    """
    special = torch.tensor(list(special_ids), device=ids_BL.device)
    kept_BL = mask_BL.bool() & ~torch.isin(ids_BL, special)
    n_B = kept_BL.sum(1)
    if (n_B == 0).any():
        raise ValueError(f"row {int((n_B == 0).nonzero()[0])} of the batch has no token to average")
    return (hidden_BLD.float() * kept_BL[..., None]).sum(1) / n_B[:, None]


def species_centroids(
    batches: Iterable[tuple[np.ndarray, Sequence[str]]],
) -> tuple[np.ndarray, pd.DataFrame]:
    """Mean embedding of each species: float64 [G, D], and a table species, n_promoters.

    batches: (rows [B, D], species of each row), such as `mean_of_tokens` gives; any number of rows
    and batches, the last one included. Memory is that of one batch and the centroids. Species are
    in alphabetical order.
    Raises: ValueError for no rows, or rows and names that do not fit.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for rows_BD, species_B in batches:
        if len(rows_BD) != len(species_B):
            raise ValueError(
                f"{len(rows_BD)} embeddings for {len(species_B)} species, expected one"
            )
        labels, index_B = np.unique(np.asarray(species_B), return_inverse=True)
        for g, name in enumerate(labels.tolist()):
            own_BD = np.asarray(rows_BD, dtype=np.float64)[index_B == g]
            sums[name] = sums.get(name, 0.0) + own_BD.sum(0)
            counts[name] = counts.get(name, 0) + len(own_BD)
    if not sums:
        raise ValueError("there is no embedding, expected at least one")
    names = sorted(sums)
    centroids_GD = np.stack([sums[name] / counts[name] for name in names])
    table = pd.DataFrame({"species": names, "n_promoters": [counts[name] for name in names]})
    return centroids_GD, table


def regress_out(rows_GD: np.ndarray, shares_G4: np.ndarray) -> tuple[np.ndarray, float]:
    """(residuals [G, D], share of the variance explained) of embeddings given base composition.

    The control for a map of species: where composition (shares of A, C, G, T; 1-mers) explains
    nearly all, the embedding adds nothing to counting bases. With few species it always explains
    much: at least 3 / (G - 1) of it by chance alone. The share is over all dimensions together.
    Raises: ValueError for shapes that do not fit, or fewer than five rows (four columns fit four).
    Source: ordinary least squares; the question is that of Levy et al. 2022, supplement, figure S1.
    """
    if len(rows_GD) != len(shares_G4) or shares_G4.shape[1:] != (4,) or len(rows_GD) < 5:
        raise ValueError(
            f"embeddings {rows_GD.shape} and shares {shares_G4.shape}, expected [G, D] and [G, 4] "
            "with G of at least 5: three free shares and an intercept explain any four rows"
        )
    centred_GD = rows_GD - rows_GD.mean(0)
    shares_G4 = shares_G4 - shares_G4.mean(0)
    # one share follows from the others: least squares copes with that
    weights_4D, *_ = np.linalg.lstsq(shares_G4, centred_GD, rcond=1e-10)
    residual_GD = centred_GD - shares_G4 @ weights_4D
    total = np.square(centred_GD).sum()
    return residual_GD, float(1 - np.square(residual_GD).sum() / total) if total > 0 else 0.0


def _check_width(promoters_SD: np.ndarray, tissues_TD: np.ndarray) -> None:
    two = promoters_SD.ndim == tissues_TD.ndim == 2
    if not two or promoters_SD.shape[1] != tissues_TD.shape[1]:
        raise ValueError(
            f"promoter embeddings {promoters_SD.shape} and tissue embeddings {tissues_TD.shape}, "
            "expected [S, D] and [T, D] with the same D"
        )
