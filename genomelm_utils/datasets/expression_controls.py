"""Expression sets whose answer is known: simulated promoters, and labels that were permuted."""

from collections.abc import Mapping

import numpy as np

from genomelm_utils.datasets.cluster_splits import SHARES, split_promoters
from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.sequences.simulate_expression import SimulatedExpression


def make_simulated_set(
    simulated: SimulatedExpression, *, seed: int, shares: Mapping[str, float] = SHARES
) -> ExpressionSet:
    """Simulated promoters as a set: clusters are the known families, split by them with `seed`.

    gap_bp is 0: every promoter ends at its TSS.
    """
    split = split_promoters(simulated.gene_ids, simulated.family_S, seed=seed, shares=shares)
    genes = make_genes(
        simulated.gene_ids, simulated.lines, simulated.sequences, gap_bp=[0] * len(simulated.lines)
    )
    whole = ExpressionSet(genes, simulated.tissues, simulated.tpm_ST, "simulated")
    return split.apply(whole, simulated.gene_ids)


def permute_labels(promoters: ExpressionSet, rng: np.random.Generator) -> ExpressionSet:
    """The same promoters with the expression of others: nothing can be learned from it.

    Whole rows are exchanged, inside of each part, so every part keeps its distribution and tissues
    stay correlated as they were. A model that is better than the tissue mean on this set leaks.
    """
    order = np.arange(len(promoters))
    for part in promoters.genes["part"].unique():
        rows = np.flatnonzero(promoters.genes["part"] == part)
        order[rows] = rng.permutation(rows)
    return ExpressionSet(
        promoters.genes, promoters.tissues, promoters.tpm_ST[order], promoters.unit
    )
