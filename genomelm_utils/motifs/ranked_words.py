"""Do the words that a PMI ranking puts first match known motifs? A permutation test.

GeneMask says that tokens of high PMI correspond to conserved motifs, and gives no test of it. Here
each word gets the number of known motifs that it matches; a ranking is as good as the chance that
a matching word stands before one that does not (area under the ROC curve, 0.5 for no relation). A
word and its reverse complement are one observation: known motifs have no strand.

Motif collections prefer some compositions, and so do rankings (words with CpG come last). So the
test is made twice: against all orders of the words, and against orders that only change places
among words of the same numbers of G or C and of CpG.

Shape suffixes: K = 4 ** k words, N words of which the reverse complement does not come first,
M motifs, R permutations.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import Motif
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import kmer_strings, revcomp_codes

#: Of all words, the share that matches a motif: the 0.1 % that score highest in its most
#: informative window, 4 of 4,096 for 6-mers, and their other strands. Chosen.
MATCH_SHARE = 0.001
CONTROLS = ("none", "composition")


def match_words(motifs: Sequence[Motif], k: int, share: float = MATCH_SHARE) -> pd.DataFrame:
    """For each of 4 ** k words how many motifs it matches: columns ngram, n_motifs, motifs.

    A motif is taken at its k positions in a row of most information; those words match that score
    highest there, on either strand, `share` of all (ties at the border are all in). Motifs shorter
    than k are left out. `motifs`: the names, at most five, by blanks.

    Raises: ValueError for no motif of k positions or more.
    """
    usable = [motif for motif in motifs if motif.width >= k]
    if not usable:
        raise ValueError(f"{len(motifs)} motifs, none of {k} positions or more")
    words_KL = np.indices((N_BASES,) * k).reshape(k, -1).T
    back_K = revcomp_codes(k)
    n_best = max(round(share * N_BASES**k), 1)
    counts = np.zeros(N_BASES**k, dtype=np.int64)
    names: list[list[str]] = [[] for _ in range(N_BASES**k)]
    for motif in usable:
        sums = np.convolve(motif.information, np.ones(k), mode="valid")
        begin = int(np.argmax(sums))
        log_odds = motif.log_odds()[begin : begin + k]
        score_K = log_odds[np.arange(k), words_KL].sum(axis=1)
        score_K = np.maximum(score_K, score_K[back_K])
        border = np.partition(score_K, -n_best)[-n_best]
        for word in np.flatnonzero(score_K >= border - 1e-9):
            counts[word] += 1
            if len(names[word]) < 5:
                names[word].append(motif.alt_name or motif.name)
    texts = [" ".join(one) for one in names]
    return pd.DataFrame({"ngram": kmer_strings(k), "n_motifs": counts, "motifs": texts})


def compare_rankings_with_motifs(
    rankings: Mapping[str, pd.Series],
    matches: pd.DataFrame,
    rng: np.random.Generator,
    n_permutations: int = 2000,
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """One row per ranking and control: how well it puts words first that match motifs.

    rankings: name -> scores by word (index: words of one length), the higher the earlier. A word
    and its reverse complement count once, with the mean of their scores. matches: of `match_words`.

    Columns: ranking, control (`none`, `composition`), n_words, n_matching, auc (0.5: no relation),
    low, high (95 % bootstrap over words), expected (mean AUC of permuted scores), effect (auc -
    expected), p_value (two-sided, the observed order counts as one permutation), spearman (of score
    and number of motifs), n_permutations.

    Raises: ValueError for words that the table of matches does not hold, or a ranking in which all
        words match or none does.
    """
    rows = []
    for name, scores in rankings.items():
        score_N, count_N, stratum_N = _one_per_pair(name, scores, matches)
        positive_N = count_N > 0
        if positive_N.all() or not positive_N.any():
            raise ValueError(
                f"ranking {name!r}: {int(positive_N.sum())} of {len(positive_N)} words match a "
                "motif, expected some but not all; change the share of matching words"
            )
        low, high = _bootstrap(score_N, positive_N, rng, n_resamples)
        auc = areas(score_N[None], positive_N)[0]
        for control in CONTROLS:
            strata = stratum_N if control == "composition" else np.zeros(len(score_N), int)
            permuted = _permuted_areas(score_N, positive_N, strata, rng, n_permutations)
            expected = float(permuted.mean())
            extreme = np.abs(permuted - expected) >= abs(auc - expected) - 1e-12
            rows.append(
                {
                    "ranking": name,
                    "control": control,
                    "n_words": len(score_N),
                    "n_matching": int(positive_N.sum()),
                    "auc": float(auc),
                    "low": low,
                    "high": high,
                    "expected": expected,
                    "effect": float(auc) - expected,
                    "p_value": (1 + int(extreme.sum())) / (1 + n_permutations),
                    "spearman": float(pd.Series(score_N).corr(pd.Series(count_N), "spearman")),
                    "n_permutations": n_permutations,
                }
            )
    return pd.DataFrame(rows)


def describe_comparison(table: pd.DataFrame, level: float = 0.05) -> str:
    """Sentences on `compare_rankings_with_motifs`: whether the claim holds, by control."""
    told = []
    for row in table.itertuples():
        holds = row.p_value <= level
        way = "before" if row.effect > 0 else "behind"
        verdict = f"stand {way} the others" if holds else "stand nowhere special"
        against = "" if row.control == "none" else " among words of equal composition"
        told.append(
            f"{row.ranking}: words that match known motifs {verdict}{against} (AUC {row.auc:.3f} "
            f"[{row.low:.3f}, {row.high:.3f}], expected {row.expected:.3f}, p = {row.p_value:.2g})"
        )
    return "; ".join(told) + "."


def describe_claim(table: pd.DataFrame, level: float = 0.05) -> str:
    """Sentences, shorter than `describe_comparison`: AUC of each ranking and its two effects."""
    told, n_hold = [], 0
    for name, part in table.groupby("ranking", sort=False):
        rows = part.set_index("control")
        plain, equal = (rows.loc[control] for control in CONTROLS)
        n_hold += equal["p_value"] <= level and equal["effect"] > 0
        told.append(
            f"{name} {plain['auc']:.3f} [{plain['low']:.3f}, {plain['high']:.3f}], "
            f"{plain['effect']:+.3f} over all orders (p = {plain['p_value']:.2g}), "
            f"{equal['effect']:+.3f} among words of equal composition (p = {equal['p_value']:.2g})"
        )
    return (
        f"AUC of words that match a known motif: {'; '.join(told)}. Words that match stand before "
        f"others of their composition in {n_hold} of {len(told)} rankings."
    )


def matching_share(
    rankings: Mapping[str, pd.Series], matches: pd.DataFrame, tops: Sequence[int]
) -> pd.DataFrame:
    """Share of words that match a motif among the first n and among all: ranking, top, share.

    `top` 0 is all words of the ranking.
    """
    matched = matches.set_index("ngram")["n_motifs"] > 0
    rows = []
    for name, scores in rankings.items():
        words = scores.sort_values(ascending=False, kind="stable").index
        for top in (*tops, 0):
            chosen = words[: top or len(words)]
            share = float(matched.reindex(chosen).mean())
            rows.append({"ranking": name, "top": top, "n_words": len(chosen), "share": share})
    return pd.DataFrame(rows)


def describe_shares(table: pd.DataFrame, top: int = 100) -> str:
    """A sentence on `matching_share`: share among the first `top` and among all words."""
    told = []
    for name, part in table.groupby("ranking", sort=False):
        share = part.set_index("top")["share"]
        told.append(f"{name} {share[top]:.0%} (of all {share[0]:.0%})")
    return f"Of the first {top} words match a motif: {', '.join(told)}."


def _one_per_pair(
    name: str, scores: pd.Series, matches: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, numbers of motifs and strata of words, one per pair of reverse complements."""
    known = matches.set_index("ngram")["n_motifs"]
    unknown = scores.index.difference(known.index)
    if len(unknown):
        raise ValueError(
            f"ranking {name!r}: {len(unknown)} words that were not matched with motifs, such as "
            f"{unknown[0]!r}; expected words of {len(known.index[0])} bases"
        )
    k = len(known.index[0])
    texts = kmer_strings(k)
    code_of = {text: code for code, text in enumerate(texts)}
    back_K = revcomp_codes(k)
    codes = np.array([code_of[word] for word in scores.index])
    pairs = np.minimum(codes, back_K[codes])
    table = pd.DataFrame({"pair": pairs, "score": scores.to_numpy(dtype=np.float64)})
    mean = table.groupby("pair")["score"].mean()
    words = [texts[code] for code in mean.index]
    gc = np.array([word.count("G") + word.count("C") for word in words])
    cpg = np.array([word.count("CG") for word in words])
    return mean.to_numpy(), known.loc[words].to_numpy(), gc * (k + 1) + cpg


def areas(score_RN: np.ndarray, positive_N: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve of rows of scores, ties as halves (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    n_positive = int(positive_N.sum())
    ranks = rankdata(score_RN, axis=1)[:, positive_N].sum(axis=1)
    n_pairs = n_positive * (len(positive_N) - n_positive)
    return (ranks - n_positive * (n_positive + 1) / 2) / n_pairs


def _bootstrap(
    score_N: np.ndarray, positive_N: np.ndarray, rng: np.random.Generator, n_resamples: int
) -> tuple[float, float]:
    """95 % percentile interval of the area; matching words and others are drawn apart."""
    groups = [np.flatnonzero(positive_N), np.flatnonzero(~positive_N)]
    ordered = np.concatenate([np.ones(len(groups[0]), bool), np.zeros(len(groups[1]), bool)])
    found = []
    for _ in range(n_resamples):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        found.append(areas(score_N[drawn][None], ordered)[0])
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _permuted_areas(
    score_N: np.ndarray,
    positive_N: np.ndarray,
    stratum_N: np.ndarray,
    rng: np.random.Generator,
    n_permutations: int,
) -> np.ndarray:
    """Areas after shuffling scores within strata: float64[R]."""
    from scipy.stats import rankdata

    rank_N = rankdata(score_N)
    order = np.argsort(stratum_N, kind="stable")
    borders = np.flatnonzero(np.diff(stratum_N[order])) + 1
    parts = np.split(order, borders)
    n_positive = int(positive_N.sum())
    sums = np.empty(n_permutations)
    for i in range(n_permutations):
        sums[i] = sum(
            rng.permutation(rank_N[part])[positive_N[part]].sum()
            for part in parts
            if positive_N[part].any()
        )
    n_pairs = n_positive * (len(positive_N) - n_positive)
    return (sums - n_positive * (n_positive + 1) / 2) / n_pairs
