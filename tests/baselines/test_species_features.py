"""Every baseline gives finite float32 rows in order; what cannot be counted is named first."""

import numpy as np
import pytest
from species_examples import make_contigs

from genomelm_utils.baselines import species_features as module
from genomelm_utils.baselines.kmer_contrastive import KmerEncoder, KmerEncoderConfig
from genomelm_utils.baselines.species_features import SPECIES_BASELINES, species_features
from genomelm_utils.baselines.tnf_vae import tnf_vae_features
from genomelm_utils.sequences.alphabet import encode

WIDTHS = {
    "tnf": 256,
    "canonical_tnf": 136,
    "tnf_k": 103,
    "tnf_k_reference": 103,
    "kmer_vectors": 9,
    "tnf_vae": 32,
    "kmer_contrastive": 256,
}


@pytest.fixture
def ingredients(rng, monkeypatch):
    """What some baselines need, and a VAE of few epochs."""
    monkeypatch.setattr(
        module, "tnf_vae_features", lambda codes, seed: tnf_vae_features(codes, seed=seed, epochs=2)
    )
    return {
        "vectors_KD": rng.normal(size=(256, 9)),
        "encoder": KmerEncoder(KmerEncoderConfig()).eval(),
    }


@pytest.mark.parametrize("name", SPECIES_BASELINES)
def test_rows_are_finite_and_in_order(rng, ingredients, name):
    codes, _ = make_contigs(rng, n_species=2, n_contigs=3, length_bp=200)
    found = species_features(name, codes, **ingredients)
    assert found.shape == (6, WIDTHS[name])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    if name != "tnf_vae":  # which is trained on all of them
        assert np.allclose(species_features(name, codes[4:], **ingredients), found[4:], atol=1e-6)


@pytest.mark.parametrize("name", SPECIES_BASELINES)
def test_uncountable_sequences_are_counted_and_named(ingredients, name):
    codes = [encode("ACGTACGTT"), encode("NNNNNN"), encode("ACG")]
    with pytest.raises(ValueError, match=r"2 of 3 .*: late \(no 4 .* 6 bp\), short"):
        species_features(name, codes, names=["good", "late", "short"], **ingredients)


def test_missing_ingredients_and_unknown_names():
    codes = [encode("ACGTACGTT")]
    with pytest.raises(ValueError, match="needs vectors_KD"):
        species_features("kmer_vectors", codes)
    with pytest.raises(ValueError, match="needs encoder"):
        species_features("kmer_contrastive", codes)
    with pytest.raises(ValueError, match="'hyenadna' is unknown, expected one of tnf, "):
        species_features("hyenadna", codes)
