"""What a network of promoter activity has to beat: GC content, counts of known motifs, k-mers.

All are linear regressions (binary labels as numbers, which ranks them), a ridge's penalty chosen
inside the training rows. They have no seed of their own: they differ between splits only.

Shapes: S rows, T outputs, F features.
"""

import numpy as np

from genomelm_utils.baselines.composition import composition_features
from genomelm_utils.baselines.kmer_ridge import KmerFeatures
from genomelm_utils.baselines.masked_ridge import fit_linear, fit_ridge
from genomelm_utils.baselines.promoter_motifs import PlantMotif, motif_features
from genomelm_utils.datasets.activity_splits import first_copies
from genomelm_utils.datasets.activity_task import CLASS_KINDS, ActivitySet

BASELINES = ("gc", "motif_counts", "kmer_ridge")
KS = (1, 2, 3, 4, 5, 6)
#: Core promoter words and the consensus of common factors. Sources at each; JASPAR 2022 is
#: Castro-Mondragon et al. 2022, Nucleic Acids Res. 50:D165.
ACTIVITY_MOTIFS = (
    PlantMotif("TATA box", "TATAWAW", "Smale & Kadonaga 2003, Annu. Rev. Biochem. 72:449"),
    PlantMotif("Inr", "YYANWYY", "Smale & Kadonaga 2003, Annu. Rev. Biochem. 72:449"),
    PlantMotif("DPE", "RGWYV", "Smale & Kadonaga 2003, Annu. Rev. Biochem. 72:449"),
    PlantMotif("BRE", "SSRCGCC", "Lagrange et al. 1998, Genes Dev. 12:34"),
    PlantMotif("CCAAT box", "CCAAT", "Benoist et al. 1980, Nucleic Acids Res. 8:127"),
    PlantMotif("SP1", "GGGCGG", "Dynan & Tjian 1985, Nature 316:774"),
    PlantMotif("CREB", "TGACGTCA", "JASPAR 2022, MA0018"),
    PlantMotif("NRF1", "GCGCATGCGC", "JASPAR 2022, MA0506"),
    PlantMotif("ETS", "MGGAAGT", "JASPAR 2022, MA0062"),
    PlantMotif("YY1", "AAGATGGCGGC", "JASPAR 2022, MA0095"),
    PlantMotif("E-box", "CACGTG", "JASPAR 2022, MA0093"),
    PlantMotif("AP-1", "TGASTCA", "JASPAR 2022, MA0099"),
    PlantMotif("GATA", "AGATAAG", "JASPAR 2022, MA0035"),
    PlantMotif("RUNX", "TGTGGTTT", "JASPAR 2022, MA0002"),
    PlantMotif("HNF4A", "CAAAGTCCA", "JASPAR 2022, MA0114"),
    PlantMotif("REST, half", "TTCAGCACC", "JASPAR 2022, MA0138"),
    PlantMotif("POU/OCT", "ATGCAAAT", "JASPAR 2022, MA1115"),
    PlantMotif("KLF", "CCACCC", "JASPAR 2022, MA0039"),
    PlantMotif("GAGA", "GAGAGAG", "JASPAR 2022, MA0205"),
    PlantMotif("DRE", "TATCGATA", "Ohler et al. 2002, Genome Biol. 3:research0087"),
    PlantMotif("Ohler 1", "YGGTCACACTR", "Ohler et al. 2002, Genome Biol. 3:research0087"),
    PlantMotif("G-box", "CACGTGGC", "Menkens et al. 1995, Trends Biochem. Sci. 20:506"),
    PlantMotif("Y patch", "YYYYYYYY", "Yamamoto et al. 2007, BMC Genomics 8:67"),
    PlantMotif("TCP", "GGNCCCAC", "Kosugi & Ohashi 2002, Plant J. 30:337"),
    PlantMotif("-10 box", "TATAAT", "Harley & Reynolds 1987, Nucleic Acids Res. 15:2343"),
    PlantMotif("-35 box", "TTGACA", "Harley & Reynolds 1987, Nucleic Acids Res. 15:2343"),
)


def predict_baseline(name: str, data: ActivitySet, part: str, seed: int = 0) -> np.ndarray:
    """float32 [S, T] for the rows of a part, fitted on training rows.

    'gc': GC content and length. 'motif_counts': hits of `ACTIVITY_MOTIFS` on both strands, where
    the nearest stands, and composition. 'kmer_ridge': counts of 1 to 6 bases.
    Raises ValueError for an unknown name, or a task of classes, which has no numbers to regress on.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline is {name!r}, expected one of {', '.join(BASELINES)}")
    if data.spec.kind in CLASS_KINDS:
        raise ValueError(f"{data.spec.name} has classes; these baselines are regressions")
    train, wanted = data.rows("train"), data.rows(part)
    codes = [data.codes[row] for row in np.concatenate([train, wanted])]
    features_SF = _features(name, codes)
    fitted, asked = features_SF[: len(train)], features_SF[len(train) :]
    labels_ST = data.labels_ST[train]
    if name == "gc":
        return fit_linear(fitted, labels_ST, standardised=True).predict(asked)
    copies_S = first_copies(codes[: len(train)])
    return fit_ridge(fitted, labels_ST, copies_S, seed).predict(asked)


def _features(name: str, codes: list[np.ndarray]) -> np.ndarray:
    if name == "gc":
        return composition_features(codes).astype(np.float32)
    if name == "motif_counts":
        return motif_features(codes, motifs=ACTIVITY_MOTIFS)
    return KmerFeatures(ks=KS).rows(codes)
