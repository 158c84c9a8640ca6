"""How well trained do the weights of a model look? Power laws of its spectra, without any data.

Every matrix of a model folder is read by itself, so memory holds one matrix at a time, whatever
the size of the model. The numbers are those of weightwatcher (alpha, norms, stable rank) with the
fit of `evaluation.powerlaw`; beside every alpha stands what random weights of its shape give.

Shapes: R rows, C columns, N eigenvalues (the smaller of R and C).
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.powerlaw import (
    MIN_VALUES,
    OVER_TRAINED,
    SMALLEST,
    UNDER_TRAINED,
    alpha_interval,
    fit_power_law,
    random_eigenvalues,
)

logger = logging.getLogger(__name__)

MAX_VALUES = 10_000  # Source: weightwatcher's `max_evals`, of the smaller side
ALPHA_MAX = 8.0  # of the histogram. Source: genomeNLP's --alpha_max
RANDOM_DRAWS = 40  # of random weights per shape
BLOCK_ROWS = 8192
#: What a task added to the encoder is not looked at. Source: genomeNLP loads the bare encoder
HEADS = (
    *("classifier.", "pre_classifier.", "classification_head.", "score.", "qa_outputs.", "cls."),
    *("lm_head.", "vocab_projector.", "vocab_transform.", "decoder.", "head."),
)
COLUMNS = (
    *("model", "layer_id", "layer", "n_rows", "n_columns", "n_values", "alpha", "alpha_low"),
    *("alpha_high", "sigma", "distance", "xmin", "xmax", "n_tail", "status", "random_low"),
    *("random_median", "random_high", "like_random", "spectral_norm", "frobenius_norm"),
    *("log_alpha_norm", "stable_rank"),
)


def iter_matrices(folder: Path | str) -> Iterator[tuple[str, np.ndarray]]:
    """(name, float32 [R, C]) of every weight matrix of the encoder in a model folder, in order.

    Linear layers and embeddings; biases, norms, convolutions and the task's head are passed over.
    Reads `model.safetensors` (also in pieces) or `pytorch_model.bin`, one matrix at a time.

    Raises: FileNotFoundError for a folder without weights.
    """
    files = _weight_files(Path(folder))
    readers = {file: _open_weights(file) for file in files}
    names = {name: file for file, (keys, _) in readers.items() for name in keys}
    for name in sorted((n for n in names if _is_encoder(n)), key=_order):
        tensor = readers[names[name]][1](name)
        if tensor.ndim == 2:
            yield name.removesuffix(".weight"), tensor.float().numpy()


def eigenvalues(matrix_RC: np.ndarray) -> np.ndarray:
    """Squared singular values, ascending: float64 [N], of the smaller of the two Gram matrices."""
    if matrix_RC.shape[0] < matrix_RC.shape[1]:
        matrix_RC = matrix_RC.T
    gram = np.zeros((matrix_RC.shape[1],) * 2)
    for begin in range(0, len(matrix_RC), BLOCK_ROWS):
        block = matrix_RC[begin : begin + BLOCK_ROWS].astype(np.float64)
        gram += block.T @ block
    return np.maximum(np.linalg.eigvalsh(gram), 0)


def analyse_model(
    folder: Path | str,
    name: str | None = None,
    *,
    min_values: int = MIN_VALUES,
    max_values: int = MAX_VALUES,
    n_random: int = RANDOM_DRAWS,
    n_resamples: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per weight matrix: alpha of its spectrum, norms, and alphas of random weights.

    folder: of a model in Hugging Face format. name: column `model`, by default the folder as given.
    min_values, max_values: matrices whose smaller side is outside are skipped, counted in the log.
    n_random: matrices of independent normal entries, of the same shape, whose alphas the columns
    `random_low`, `random_median`, `random_high` (2.5, 50, 97.5 %) describe. `like_random`: the
    layer's alpha is not below `random_low`, so its tail is no heavier than chance makes it.
    n_resamples: of a bootstrap interval `alpha_low`, `alpha_high`; 0 leaves them missing.

    `status`: "over-trained" (alpha < 2), "under-trained" (alpha > 6) or "in range".
    `log_alpha_norm` is log10(sum(lambda ** alpha)), `stable_rank` sum(lambda) / max(lambda).

    Raises: FileNotFoundError without weights, ValueError when no matrix is large enough.
    Source: Martin, Peng and Mahoney 2021, Nature Communications 12:4122 (alpha, alpha-norm).
    """
    rows, skipped, random = [], [], {}
    for layer, matrix_RC in iter_matrices(folder):
        small, large = sorted(matrix_RC.shape)
        if not min_values <= small <= max_values:
            skipped.append(layer)
            continue
        if (small, large) not in random:
            rng = np.random.default_rng([seed, small, large])
            random[small, large] = _random_alphas(small, large, n_random, rng)
        rng = np.random.default_rng([seed, len(rows)])
        rows.append(
            {
                "model": str(folder) if name is None else name,
                "layer_id": len(rows),
                "layer": layer,
                **_describe_matrix(matrix_RC, rng, random[small, large], n_resamples),
            }
        )
    if not rows:
        raise ValueError(
            f"{folder}: no weight matrix has {min_values} to {max_values} eigenvalues "
            f"({len(skipped)} are smaller or larger); lower min_values for small networks"
        )
    if skipped:
        logger.info("%s: %d matrices skipped: %s", folder, len(skipped), ", ".join(skipped))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarise_models(layers: pd.DataFrame) -> pd.DataFrame:
    """One row per model of `analyse_model`'s tables: alphas, and how many matrices look trained.

    Columns: model, n_matrices, mean_alpha, median_alpha, min_alpha, max_alpha, n_over_trained,
    n_in_range, n_under_trained, n_like_random, mean_log_alpha_norm.
    """
    rows = []
    for model, part in layers.groupby("model", sort=False):
        counts = part["status"].value_counts()
        alpha = part["alpha"]
        rows.append(
            {
                "model": model,
                "n_matrices": len(part),
                "mean_alpha": alpha.mean(),
                "median_alpha": alpha.median(),
                "min_alpha": alpha.min(),
                "max_alpha": alpha.max(),
                **{
                    f"n_{status.replace('-', '_').replace(' ', '_')}": int(counts.get(status, 0))
                    for status in ("over-trained", "in range", "under-trained")
                },
                "n_like_random": int(part["like_random"].sum()),
                "mean_log_alpha_norm": part["log_alpha_norm"].mean(),
            }
        )
    return pd.DataFrame(rows)


def describe_models(summary: pd.DataFrame) -> str:
    """A sentence per model of `summarise_models` on what its alphas say; then how to read them."""
    told = []
    for row in summary.itertuples():
        n, random = row.n_matrices, row.n_like_random
        if random > n / 2:
            verdict = (
                f"{random} of {n} matrices have no heavier tail than random weights: not trained, "
                "or hardly"
            )
        elif row.n_over_trained > n / 2:
            verdict = f"{row.n_over_trained} of {n} below {OVER_TRAINED:g}: over-trained"
        elif row.n_under_trained > n / 2:
            verdict = f"{row.n_under_trained} of {n} above {UNDER_TRAINED:g}: under-trained"
        else:
            verdict = f"{row.n_in_range} of {n} between {OVER_TRAINED:g} and {UNDER_TRAINED:g}"
        told.append(
            f"{row.model}: mean alpha {row.mean_alpha:.2f}, median {row.median_alpha:.2f} "
            f"({row.min_alpha:.2f} to {row.max_alpha:.2f}); {verdict}."
        )
    guide = (
        f"Reading: well trained layers lie between {OVER_TRAINED:g} and {UNDER_TRAINED:g}, good "
        "language models in a narrow band about 2 to 4; a falling alpha means a heavier tail. "
        "Alphas rank models of one architecture; they say nothing about one task."
    )
    return "\n".join([*told, guide])


def model_names(folders: Sequence[Path | str]) -> list[str]:
    """A different, short name for every folder: the last parts of its path that tell them apart.

    Folders are often all called `model_files`.
    """
    parts = [Path(folder).resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"the same folder is given twice: {', '.join(map(str, folders))}")


def _describe_matrix(
    matrix_RC: np.ndarray,
    rng: np.random.Generator,
    random: tuple[float, float, float],
    n_resamples: int,
) -> dict[str, float | int | str | bool]:
    values = eigenvalues(matrix_RC)
    fit = fit_power_law(values)
    low, median, high = random
    bounds = (np.nan, np.nan)
    if n_resamples:
        bounds = alpha_interval(values, rng, n_resamples=n_resamples)
    status = "in range"
    if not OVER_TRAINED <= fit.alpha <= UNDER_TRAINED:
        status = "over-trained" if fit.alpha < OVER_TRAINED else "under-trained"
    kept = values[values > SMALLEST]
    # in logarithms: lambda ** alpha overflows for steep fits
    largest = fit.alpha * np.log10(kept.max())
    log_norm = largest + np.log10((10 ** (fit.alpha * np.log10(kept) - largest)).sum())
    return {
        "n_rows": matrix_RC.shape[0],
        "n_columns": matrix_RC.shape[1],
        "n_values": len(kept),
        "alpha": fit.alpha,
        "alpha_low": bounds[0],
        "alpha_high": bounds[1],
        "sigma": fit.sigma,
        "distance": fit.distance,
        "xmin": fit.xmin,
        "xmax": fit.xmax,
        "n_tail": fit.n_tail,
        "status": status,
        "random_low": low,
        "random_median": median,
        "random_high": high,
        "like_random": bool(fit.alpha >= low),
        "spectral_norm": float(values.max()),
        "frobenius_norm": float(values.sum()),
        "log_alpha_norm": float(log_norm),
        "stable_rank": float(values.sum() / values.max()),
    }


def _random_alphas(
    small: int, large: int, n_random: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The 2.5, 50 and 97.5 % quantiles of alpha of random weights; their scale does not matter."""
    if not n_random:
        return (float("nan"),) * 3
    found = [
        fit_power_law(random_eigenvalues(small, large, 1.0, rng)).alpha for _ in range(n_random)
    ]
    low, median, high = np.quantile(found, [0.025, 0.5, 0.975])
    return float(low), float(median), float(high)


def _weight_files(folder: Path) -> list[Path]:
    for index, single in (
        ("model.safetensors.index.json", "model.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin"),
    ):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            names = json.loads((folder / index).read_text())["weight_map"].values()
            return [folder / name for name in sorted(set(names))]
    raise FileNotFoundError(
        f"{folder} has neither model.safetensors nor pytorch_model.bin, expected the folder of a "
        "model in Hugging Face format"
    )


def _open_weights(file: Path):
    """Names of the tensors of a file, and a function that reads one; the rest stays on disk."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        stream = safe_open(file, framework="pt")
        return list(stream.keys()), stream.get_tensor
    import torch

    tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    return [n for n, t in tensors.items() if torch.is_tensor(t)], tensors.__getitem__


def _is_encoder(name: str) -> bool:
    """Whether a tensor can be a weight matrix of the encoder."""
    return name.endswith(("weight", "embeddings", "in_proj_weight")) and not name.startswith(HEADS)


def _order(name: str) -> tuple:
    """Embeddings first, then layers by number, then by name."""
    numbers = [int(n) for n in re.findall(r"\.(\d+)\.", name)]
    return (not re.search(r"embed", name), numbers, name)
