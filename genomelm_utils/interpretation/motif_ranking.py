"""Which motifs matter: effects of insertion tested and ranked, beside what measurements say.

Insertion tells what a model has learnt; the occurrence test tells how expression differs between
measured sequences with and without the motif. Neither is a cause: motifs keep company.

Shapes: M motifs, S sequences, C outputs.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.regression_moments import (
    draw_clusters,
    quantile_interval,
    rank_correlations,
)
from genomelm_utils.evaluation.statistics import correct_fdr
from genomelm_utils.interpretation.motif_draws import SHUFFLED
from genomelm_utils.interpretation.motif_insertion import MotifEffects

#: all backgrounds, as the released script averages; those without the motif, as it meant to.
SUBSETS = ("all", "without")
SIDES = ("up", "down")
EFFECT_COLUMNS = (
    *("motif", "output", "subset", "n", "mean", "se", "low", "high", "p", "q"),
    *("control", "excess", "excess_se", "p_excess", "q_excess"),
)
OCCURRENCE_COLUMNS = (
    *("motif", "output", "n_with", "n_without", "mean_with", "mean_without"),
    *("dfe", "se", "low", "high", "t", "df", "p", "q"),
)


def effect_table(
    effects: MotifEffects, has_motif_SM: np.ndarray | None = None, *, level: float = 0.95
) -> pd.DataFrame:
    """A row per motif, output and subset of backgrounds: mean effect, interval, adjusted p.

    subset: 'all', and, with `has_motif_SM` (bool, motifs in the order of `effects`, controls left
    out), 'without': backgrounds that do not hold the motif already. se, t interval and p are over
    backgrounds (NaN with fewer than two), q is Benjamini and Hochberg's over the motifs of an
    output and subset. Where `effects` also holds shuffled motifs (`shuffle_motifs`), they are no
    rows of their own: control is their mean effect, excess what the motif does more, paired over
    backgrounds, with p and q of its own; else these columns are NaN.

    A mean effect is no proof of recognition, since whatever is inserted destroys something: excess
    is. Raises: ValueError for occurrences of another shape.
    """
    names = [name for name in effects.motifs if not name.endswith(SHUFFLED)]
    index = {name: m for m, name in enumerate(effects.motifs)}
    n_backgrounds = effects.effects_MSC.shape[1]
    _check_occurrence(has_motif_SM, n_backgrounds, len(names))
    subsets = SUBSETS if has_motif_SM is not None else SUBSETS[:1]
    rows = []
    for column, name in enumerate(names):
        effect_SC = effects.effects_MSC[index[name]].astype(np.float64)
        control = index.get(name + SHUFFLED)
        for subset in subsets:
            chosen_S = slice(None) if subset == "all" else ~has_motif_SM[:, column]
            found = _mean_test(effect_SC[chosen_S], level)
            excess = {"mean": np.nan, "se": np.nan, "p": np.nan}
            if control is not None:
                shuffled_SC = effects.effects_MSC[control].astype(np.float64)
                excess = _mean_test((effect_SC - shuffled_SC)[chosen_S], level)
            table = pd.DataFrame(
                {
                    "motif": name,
                    "output": effects.outputs,
                    "subset": subset,
                    **found,
                    "control": found["mean"] - excess["mean"],
                    "excess": excess["mean"],
                    "excess_se": excess["se"],
                    "p_excess": excess["p"],
                }
            )
            rows.append(table)
    whole = pd.concat(rows, ignore_index=True)
    for p, q in (("p", "q"), ("p_excess", "q_excess")):
        whole[q] = whole.groupby(["output", "subset"], sort=False)[p].transform(correct_fdr)
    return whole[list(EFFECT_COLUMNS)]


def compare_occurrence(
    values_SC: np.ndarray,
    has_motif_SM: np.ndarray,
    motifs: Sequence[str],
    outputs: Sequence[str],
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """A row per motif and output: measured mean with the motif less that without (dfe).

    values_SC: measurements, NaN where there is none. has_motif_SM: bool. Welch's t test (unequal
    variances), q by Benjamini and Hochberg over the motifs of an output; NaN where fewer than two
    sequences are on a side. All motifs at once, through sums.
    Source: Welch 1947, Biometrika 34:28; the quantity: Reddy et al. 2023, code (`dFE`).
    Raises: ValueError for shapes that do not fit.
    """
    from scipy.special import stdtr, stdtrit

    values_SC = np.asarray(values_SC, dtype=np.float64)
    if values_SC.shape[1:] != (len(outputs),):
        raise ValueError(
            f"values have shape {list(values_SC.shape)}, expected a column for each of "
            f"{', '.join(outputs)}"
        )
    _check_occurrence(has_motif_SM, len(values_SC), len(motifs))
    known_SC = np.isfinite(values_SC)
    counts_C = np.maximum(known_SC.sum(0), 1)
    center_C = np.where(known_SC, values_SC, 0).sum(0) / counts_C
    # about the mean, so that sums of squares keep their digits
    centred_SC = np.where(known_SC, values_SC - center_C, 0)
    with_SM = np.asarray(has_motif_SM, dtype=np.float64)
    sides = {}
    for side, part_SM in (("with", with_SM), ("without", 1 - with_SM)):
        n_MC = part_SM.T @ known_SC
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_MC = part_SM.T @ centred_SC / n_MC
            variance_MC = (part_SM.T @ centred_SC**2 - n_MC * mean_MC**2) / (n_MC - 1)
        sides[side] = (n_MC, mean_MC, np.maximum(variance_MC, 0))
    (n1, mean1, v1), (n0, mean0, v0) = sides["with"], sides["without"]
    with np.errstate(invalid="ignore", divide="ignore"):
        dfe_MC = mean1 - mean0
        se_MC = np.sqrt(v1 / n1 + v0 / n0)
        se_MC[(n1 < 2) | (n0 < 2)] = np.nan
        df_MC = se_MC**4 / ((v1 / n1) ** 2 / (n1 - 1) + (v0 / n0) ** 2 / (n0 - 1))
        t_MC = dfe_MC / se_MC
        p_MC = 2 * stdtr(df_MC, -np.abs(t_MC))
        half_MC = stdtrit(df_MC, (1 + level) / 2) * se_MC
    q_MC = np.stack([correct_fdr(column) for column in p_MC.T], axis=1)
    columns = {
        "n_with": n1.astype(int),
        "n_without": n0.astype(int),
        "mean_with": mean1 + center_C,
        "mean_without": mean0 + center_C,
        "dfe": dfe_MC,
        "se": se_MC,
        "low": dfe_MC - half_MC,
        "high": dfe_MC + half_MC,
        "t": t_MC,
        "df": df_MC,
        "p": p_MC,
        "q": q_MC,
    }
    names = pd.DataFrame(product(motifs, outputs), columns=["motif", "output"])
    table = names.assign(**{name: values.ravel() for name, values in columns.items()})
    return table[list(OCCURRENCE_COLUMNS)]


def join_occurrence(
    effects: pd.DataFrame, occurrence: pd.DataFrame, subset: str = "without"
) -> pd.DataFrame:
    """A row per motif and output that both tables have: motif, output, mean, dfe, q_occurrence.

    effects: of `effect_table`, rows of one subset ('all' where there is no other). occurrence: of
    `compare_occurrence`. Raises: ValueError when no motif is in both.
    """
    if subset not in set(effects["subset"]):
        raise ValueError(f"no effects of subset {subset!r}, found {sorted(set(effects['subset']))}")
    left = effects.loc[effects["subset"] == subset, ["motif", "output", "mean", "se"]]
    right = occurrence[["motif", "output", "dfe", "q"]].rename(columns={"q": "q_occurrence"})
    both = left.merge(right, on=["motif", "output"], validate="one_to_one")
    if both.empty:
        raise ValueError(
            f"no motif and output in both tables: {left['motif'].iloc[0]!r} against "
            f"{right['motif'].iloc[0]!r}, for example; name motifs and outputs alike"
        )
    return both


def agreement_table(
    joined: pd.DataFrame,
    *,
    max_q: float = 0.05,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Per output: Spearman's rho of insertion and occurrence over motifs, with its interval.

    joined: of `join_occurrence`. Columns: output, motifs ('significant': q_occurrence < max_q, or
    'all'), rho, low, high, n. Intervals: bootstrap over motifs; NaN with fewer than three.
    """
    rows = []
    for output, part in joined.groupby("output", sort=False):
        for kind in ("significant", "all"):
            chosen = part[part["q_occurrence"] < max_q] if kind == "significant" else part
            chosen = chosen[np.isfinite(chosen["dfe"]) & np.isfinite(chosen["mean"])]
            n, rho, low, high = len(chosen), np.nan, np.nan, np.nan
            if n > 2:
                counts = np.concatenate([np.ones((1, n), int), draw_clusters(n, n_resamples, seed)])
                pair = chosen["mean"].to_numpy(), chosen["dfe"].to_numpy()
                rho_R = rank_correlations(*pair, counts)
                rho = rho_R[0]
                low, high = (side[0] for side in quantile_interval(rho_R[1:, None], level))
            rows.append((output, kind, rho, low, high, n))
    return pd.DataFrame(rows, columns=["output", "motifs", "rho", "low", "high", "n"])


def top_motifs(
    table: pd.DataFrame,
    n: int = 50,
    *,
    side: str = "up",
    subset: str = "all",
    exclude: str | None = None,
) -> pd.DataFrame:
    """The n motifs with the highest ('up') or lowest ('down') mean effect on each output.

    table: of `effect_table`; its rows, best first, with a column `rank` (1 ...). exclude: leave out
    motifs with this in their names ('HOMER' in the released script).
    Source: Reddy et al. 2023, code, `get_motifs_attended_to_by_model`: 50.
    """
    _check_side(side)
    part = _rows_of(table, subset, exclude)
    ordered = part.sort_values(
        ["mean", "motif"], ascending=[side == "down", True], kind="stable"
    ).groupby("output", sort=False)
    best = ordered.head(n).copy()
    best["rank"] = ordered.cumcount().loc[best.index] + 1
    order = pd.Categorical(best["output"], categories=list(part["output"].unique()))
    return best.assign(_order=order).sort_values(["_order", "rank"]).drop(columns="_order")


def common_motifs(
    table: pd.DataFrame,
    n: int = 50,
    *,
    side: str = "up",
    subset: str = "all",
    exclude: str | None = None,
) -> pd.DataFrame:
    """Motifs among the n top ones of every output, by their mean effect over outputs.

    Columns: motif, mean. Source: as `top_motifs`.
    """
    best = top_motifs(table, n, side=side, subset=subset, exclude=exclude)
    n_outputs = best["output"].nunique()
    means = best.groupby("motif").agg(mean=("mean", "mean"), n=("output", "size"))
    shared = means[means["n"] == n_outputs][["mean"]].reset_index()
    return shared.sort_values("mean", ascending=side == "down", ignore_index=True)


def specific_motifs(
    table: pd.DataFrame,
    output: str,
    *,
    side: str = "up",
    subset: str = "all",
    exclude: str | None = None,
) -> pd.DataFrame:
    """Motifs that act on one output more than on the others, most specific first.

    Effects are standardised over the motifs of each output (z). Up: among effects above 0, by z
    less the highest z of the others; down: among effects below 0, by z less their lowest, from
    below. Columns: motif, mean, z, margin. Source: as `top_motifs`.
    Raises: ValueError for an unknown output, or a single one.
    """
    _check_side(side)
    wide = _rows_of(table, subset, exclude).pivot(index="motif", columns="output", values="mean")
    if output not in wide.columns or wide.shape[1] < 2:
        raise ValueError(
            f"output {output!r} among {list(wide.columns)}, expected one of two or more outputs"
        )
    z = (wide - wide.mean()) / wide.std(ddof=0)
    others = z.drop(columns=output)
    edge = others.max(axis=1) if side == "up" else others.min(axis=1)
    found = pd.DataFrame(
        {"mean": wide[output], "z": z[output], "margin": z[output] - edge}
    ).reset_index()
    kept = found[found["mean"] > 0] if side == "up" else found[found["mean"] < 0]
    return kept.sort_values("margin", ascending=side == "down", ignore_index=True)


def _mean_test(values_SC: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """n, mean, se, low, high, p of means over rows, for each column."""
    from scipy.special import stdtr, stdtrit

    n = len(values_SC)
    nothing = np.full(values_SC.shape[1], np.nan)
    mean_C = values_SC.mean(0) if n else nothing
    if n < 2:
        return {"n": n, "mean": mean_C, "se": nothing, "low": nothing, "high": nothing} | {
            "p": nothing
        }
    se_C = values_SC.std(0, ddof=1) / np.sqrt(n)
    half_C = stdtrit(n - 1, (1 + level) / 2) * se_C
    with np.errstate(invalid="ignore", divide="ignore"):
        p_C = 2 * stdtr(n - 1, -np.abs(mean_C / se_C))
    # the same change everywhere is certain; none at all says nothing
    p_C = np.where(se_C > 0, p_C, np.where(mean_C == 0, 1.0, 0.0))
    return {
        "n": n,
        "mean": mean_C,
        "se": se_C,
        "low": mean_C - half_C,
        "high": mean_C + half_C,
        "p": p_C,
    }


def _rows_of(table: pd.DataFrame, subset: str, exclude: str | None) -> pd.DataFrame:
    part = table[table["subset"] == subset]
    if exclude:
        part = part[~part["motif"].str.contains(exclude, regex=False)]
    if part.empty:
        raise ValueError(
            f"no motif left: subset {subset!r} of {sorted(set(table['subset']))}, without names "
            f"that hold {exclude!r}"
        )
    return part


def _check_side(side: str) -> None:
    if side not in SIDES:
        raise ValueError(f"side is {side!r}, expected {' or '.join(SIDES)}")


def _check_occurrence(has_motif_SM: np.ndarray | None, n_rows: int, n_motifs: int) -> None:
    if has_motif_SM is None:
        return
    if has_motif_SM.shape != (n_rows, n_motifs) or has_motif_SM.dtype != bool:
        raise ValueError(
            f"has_motif has shape {list(has_motif_SM.shape)} of {has_motif_SM.dtype}, expected "
            f"bool [{n_rows} sequences, {n_motifs} motifs]; count_motifs(...) > 0 makes it"
        )
