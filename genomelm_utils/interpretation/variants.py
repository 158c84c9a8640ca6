"""What a change of the sequence does to a prediction: lists of variants, and every single base.

Effects are given as the change of what is explained (log odds of a class, or a value), and for
classes also as DNABERT's: diff = (p_alt - p_ref) * max(p_ref, p_alt), and log2 odds of the
reference less those of the alternative. Source: DNABERT (Ji et al. 2021), SNP analysis.

Shapes: S sequences, L bases, N variants, C outputs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.interpretation.explained import (
    Explained,
    pick_scale,
    pick_targets,
    score_table,
)
from genomelm_utils.interpretation.mutagenesis import saturate, score_saturated
from genomelm_utils.interpretation.variant_files import as_codes, check_variants
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.tasks.windows import Codes

RULES = ("corrected", "reference")
BATCH_VARIANTS = 1024
_TINY = 1e-12  # below it odds are not told apart: keeps logarithms finite
BASES = np.array(list("ACGT"))


def score_variants(
    model: Explained,
    records: Mapping[str, np.ndarray],
    variants: pd.DataFrame,
    *,
    target: str | int | None = None,
    scale: str | None = None,
    window_bp: int | None = None,
    on_mismatch: str = "error",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row per variant: its columns, output, ref_value, alt_value, change; the left-out ones).

    records: name -> base codes. variants: `VARIANT_COLUMNS`, see `read_variants`. window_bp: the
    model reads so many bases around the variant, of both alleles (at the ends of a record the
    window is moved inside; after an insertion or deletion the right flank is shorter or longer);
    None: whole records. For classes p_ref, p_alt, diff and log_odds_ratio are added. target: None
    takes the class predicted for the reference. on_mismatch: see `check_variants`.

    Raises: ValueError for a variant that does not fit its sequence, or a window it does not fit
        into.
    """
    scale = pick_scale(model, scale)
    checked, left_out = check_variants(variants, records, on_mismatch)
    parts = []
    for begin in range(0, len(checked), BATCH_VARIANTS):
        part = checked.iloc[begin : begin + BATCH_VARIANTS]
        pairs = [_alleles(records[row.record], row, window_bp) for row in part.itertuples()]
        ref_NC = model.predict([ref for ref, _ in pairs])
        alt_NC = model.predict([alt for _, alt in pairs])
        target_N = pick_targets(model, ref_NC, target)
        parts.append(_effects(model, part, ref_NC, alt_NC, target_N, scale))
    if not parts:
        raise ValueError(f"none of {len(variants)} variants fits its sequence")
    return pd.concat(parts, ignore_index=True), left_out


def snp_table(
    model: Explained,
    codes: Codes,
    *,
    target: str | int | Sequence[int] | None = None,
    scale: str | None = None,
    rule: str = "corrected",
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every single-base change of every sequence: record, position, ref, alt, and its effects.

    Columns as of `score_variants`; position is 0-based. rule 'reference' also lists the base that
    is there already (DNABERT's four bases at every site), whose effects are 0. Ambiguous bases are
    not mutated.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")
    scale = pick_scale(model, scale)
    names = list(names) if names is not None else [str(s) for s in range(len(codes))]
    target_S = pick_targets(model, model.predict(codes), target)
    parts = []
    for s, table_L4C in enumerate(saturate(model, codes)):
        codes_L = np.asarray(codes[s])
        place_N, alt_N = np.nonzero(~np.isnan(table_L4C[..., 0]))
        ref_N = codes_L[place_N].astype(np.int64)
        if rule == "corrected":
            changed = ref_N != alt_N
            place_N, alt_N, ref_N = place_N[changed], alt_N[changed], ref_N[changed]
        rows = pd.DataFrame(
            {"record": names[s], "position": place_N, "ref": BASES[ref_N], "alt": BASES[alt_N]}
        )
        outputs = table_L4C[place_N, ref_N], table_L4C[place_N, alt_N]
        parts.append(_effects(model, rows, *outputs, np.full(len(rows), target_S[s]), scale))
    return pd.concat(parts, ignore_index=True)


def snp_effects(p_ref: np.ndarray, p_alt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DNABERT's (diff, log odds ratio) of two probabilities; diff > 0: the change raises p.

    log odds ratio = log2(p_ref / (1 - p_ref)) - log2(p_alt / (1 - p_alt)): > 0: the change lowers.
    """
    p_ref, p_alt = np.asarray(p_ref, dtype=np.float64), np.asarray(p_alt, dtype=np.float64)
    diff = (p_alt - p_ref) * np.maximum(p_ref, p_alt)
    return diff, _log2_odds(p_ref) - _log2_odds(p_alt)


def saturation_map(
    model: Explained,
    codes: np.ndarray,
    *,
    target: str | int | None = None,
    scale: str | None = None,
) -> pd.DataFrame:
    """Change of one sequence's output by each base at each place: position, base, change, is_ref.

    is_ref: the base that is there (change 0). Ambiguous places are left out.
    """
    scale = pick_scale(model, scale)
    target_S = pick_targets(model, model.predict([codes]), target)
    change_L4 = score_saturated(saturate(model, [codes]), target_S, scale)[0]
    own_L4 = np.asarray(codes)[:, None] == np.arange(N_BASES)
    own_L = np.where(own_L4, change_L4, 0).sum(1)
    table = pd.DataFrame(
        {
            "position": np.repeat(np.arange(len(codes)), N_BASES),
            "base": np.tile(BASES, len(codes)),
            "change": (change_L4 - own_L[:, None]).ravel(),
            "is_ref": own_L4.ravel(),
        }
    )
    return table.dropna().reset_index(drop=True)


def describe_variants(table: pd.DataFrame, what: str = "variants") -> str:
    """A sentence: how many, the strongest one, and how many change the predicted class."""
    top = table.loc[table["change"].abs().idxmax()]
    place = top["position"] if "position" in top else top["start"]
    way = "raises" if top["change"] > 0 else "lowers"
    told = (
        f"Of {len(table):,} {what}, {top['ref'] or '-'} to {top['alt'] or '-'} at {top['record']}, "
        f"position {int(place)} (0-based), has the largest effect: it {way} {top['output']} by "
        f"{abs(top['change']):.3g}; the median |change| is {table['change'].abs().median():.2g}."
    )
    if "p_ref" in table:
        crossed = ((table["p_ref"] > 0.5) != (table["p_alt"] > 0.5)).sum()
        told += f" {int(crossed)} move the probability across one half."
    return told


def _effects(
    model: Explained,
    rows: pd.DataFrame,
    ref_NC: np.ndarray,
    alt_NC: np.ndarray,
    target_N: np.ndarray,
    scale: str,
) -> pd.DataFrame:
    ref_N, alt_N = (score_table(one, target_N, scale) for one in (ref_NC, alt_NC))
    named = [model.outputs[t] for t in target_N]
    table = rows.assign(output=named, ref_value=ref_N, alt_value=alt_N, change=alt_N - ref_N)
    if model.kind == "classes":
        p_ref, p_alt = (score_table(one, target_N, "probability") for one in (ref_NC, alt_NC))
        diff, ratio = snp_effects(p_ref, p_alt)
        table = table.assign(p_ref=p_ref, p_alt=p_alt, diff=diff, log_odds_ratio=ratio)
    return table


def _alleles(codes: np.ndarray, row, window_bp: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The model's input with the reference and with the alternative allele."""
    codes, alt = np.asarray(codes), as_codes(row.alt)
    changed = np.concatenate([codes[: row.start], alt, codes[row.end :]])
    if window_bp is None:
        if not len(changed):
            raise ValueError(f"variant {row.name} deletes all of {row.record}; nothing is left")
        return codes, changed
    longest = max(row.end - row.start, len(alt))
    if longest > window_bp or window_bp > min(len(codes), len(changed)):
        raise ValueError(
            f"variant {row.name}: alleles of up to {longest} bases on {row.record} of {len(codes)} "
            f"do not fit a window of {window_bp}; take another window_bp"
        )
    first = (row.start + row.end) // 2 - window_bp // 2
    last = min(len(codes), len(changed)) - window_bp
    first = min(max(first, 0), last)
    return codes[first : first + window_bp], changed[first : first + window_bp]


def _log2_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _TINY, 1 - _TINY)
    return np.log2(p) - np.log2(1 - p)
