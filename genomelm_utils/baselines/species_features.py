"""Every baseline that tells species apart, behind one function: sequences in, features out.

Shapes: S sequences, F features, K = 256 words, D dimensions.
"""

from collections.abc import Sequence

import numpy as np

from genomelm_utils.baselines.kmer_contrastive import KmerEncoder, embed_kmers
from genomelm_utils.baselines.kmer_vectors import kmer_vector_features
from genomelm_utils.baselines.species_methods import SPECIES_BASELINES
from genomelm_utils.baselines.tetranucleotide import canonical_tnf, find_countable, tnf, tnf_k
from genomelm_utils.baselines.tnf_vae import tnf_vae_features
from genomelm_utils.tasks.windows import Codes


def species_features(
    name: str,
    codes: Codes,
    *,
    names: Sequence[str] | None = None,
    vectors_KD: np.ndarray | None = None,
    encoder: KmerEncoder | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Features of one baseline of `SPECIES_BASELINES`: float32 [S, F], finite, not normalised.

    F is 256 (tnf), 136 (canonical_tnf), 103 (tnf_k, tnf_k_reference), D (kmer_vectors), 32
    (tnf_vae), 256 (kmer_contrastive). Rows of tnf, tnf_k_reference and kmer_vectors depend on the
    strand. tnf_vae is trained here, on these sequences, with `seed`.

    Args:
        codes: base codes, a list of uint8 arrays of any lengths. names: for the error message.
        vectors_KD: for kmer_vectors, from `kmer_vectors.train_kmer_vectors` or
            `read_published_vectors`.
        encoder: for kmer_contrastive, from `kmer_contrastive.train_kmer_encoder`.

    Raises:
        ValueError: an unknown name, a missing ingredient, or sequences without four definite bases
            in a row: all are counted, the first named. `tetranucleotide.find_countable` leaves them
            out beforehand, so that every method is scored on the same sequences.
    """
    if name not in SPECIES_BASELINES:
        known = ", ".join(SPECIES_BASELINES)
        raise ValueError(f"baseline {name!r} is unknown, expected one of {known}")
    _check_countable(codes, names)
    if name == "kmer_vectors":
        _check_given(name, "vectors_KD", vectors_KD, "kmer_vectors.train_kmer_vectors")
        return kmer_vector_features(codes, vectors_KD)
    if name == "kmer_contrastive":
        _check_given(name, "encoder", encoder, "kmer_contrastive.train_kmer_encoder")
        return embed_kmers(encoder, codes)
    if name == "tnf_vae":
        return tnf_vae_features(codes, seed=seed)
    if name == "tnf_k_reference":
        return tnf_k(codes, "reference")
    return {"tnf": tnf, "canonical_tnf": canonical_tnf, "tnf_k": tnf_k}[name](codes)


def _check_countable(codes: Codes, names: Sequence[str] | None) -> None:
    kept_S, skipped = find_countable(codes, names)
    if len(skipped):
        first = skipped.head(5)
        pairs = zip(first["name"], first["reason"], strict=True)
        shown = ", ".join(f"{one} ({reason})" for one, reason in pairs)
        raise ValueError(
            f"{len(skipped)} of {len(kept_S)} sequences cannot be counted: {shown}"
            f"{', ...' if len(skipped) > 5 else ''}; leave them out with "
            "baselines.tetranucleotide.find_countable"
        )


def _check_given(name: str, argument: str, value: object, maker: str) -> None:
    if value is None:
        raise ValueError(f"baseline {name!r} needs {argument}, made by baselines.{maker}")
