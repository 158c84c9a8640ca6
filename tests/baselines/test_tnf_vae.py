"""Seeded to the bit, blind to strands, batches of a sane size; toy species stay apart."""

import numpy as np
import pytest
import torch
from species_examples import cluster_ari, make_contigs

from genomelm_utils.baselines.tnf_vae import (
    BATCH,
    DOUBLE_AT,
    EPOCHS,
    TnfVae,
    _deal_batches,
    length_weights,
    plan_epochs,
    tnf_vae_features,
)
from genomelm_utils.sequences.alphabet import encode, reverse_complement


def test_species_stay_apart_and_seeds_decide(rng):
    codes, labels = make_contigs(rng, n_species=5, n_contigs=12, length_bp=2000)
    state = torch.random.get_rng_state()
    found = tnf_vae_features(codes, epochs=40)
    assert torch.equal(state, torch.random.get_rng_state())
    assert found.shape == (60, 32)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert cluster_ari(found, labels) > 0.8
    assert np.array_equal(found, tnf_vae_features(codes, epochs=40))
    assert not np.allclose(found, tnf_vae_features(codes, epochs=40, seed=1))


def test_strand_hardly_matters(rng):
    codes, _ = make_contigs(rng, n_species=3, n_contigs=4, length_bp=1000)
    other = [reverse_complement(one) for one in codes]
    assert np.allclose(
        tnf_vae_features(codes, epochs=3), tnf_vae_features(other, epochs=3), atol=1e-2
    )


def test_loss_is_the_one_that_vamb_writes():
    """Batch by hand: squared error / features + 0.5 mean^2 / (latent * beta), weighted."""
    torch.manual_seed(0)
    vae = TnfVae(5).eval()
    features = torch.randn(4, 5)
    weights = torch.tensor([1.0, 2.0, 0.5, 0.5])
    torch.manual_seed(1)
    loss, n = vae(features, weights)
    torch.manual_seed(1)
    mean = vae.encode(features)
    rebuilt = vae.output(vae.decoder(mean + torch.randn(4, 32)))
    by_row = ((rebuilt - features) ** 2).sum(1) / 5 + 0.5 * (mean**2).sum(1) / (32 * 200)
    assert n == 4
    assert loss.item() == pytest.approx((by_row * weights).sum().item(), rel=1e-6)


def test_batches_double_and_never_hold_a_single_sequence():
    plan = plan_epochs(1500, EPOCHS)
    assert len(plan) == EPOCHS
    assert plan[0] == 1500 // BATCH
    assert plan[DOUBLE_AT[0]] == 1500 // (2 * BATCH)
    assert set(plan_epochs(257, 10)) == {1}
    assert plan_epochs(2, 3) == [1, 1, 1]


def test_long_contigs_weigh_more():
    weights = length_weights(np.array([500, 1000, 20_000]))
    assert weights.mean() == pytest.approx(1)
    assert weights[0] == weights[1] < weights[2]


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="at least two"):
        tnf_vae_features([encode("ACGTACGT")])
    with pytest.raises(ValueError, match="sequence 1 "):
        tnf_vae_features([encode("ACGTACGT"), encode("NNNNN")])


def test_every_sequence_is_seen_once_per_epoch():
    features = torch.arange(700, dtype=torch.float32)[:, None]
    plan = plan_epochs(700, 30)
    deal = _deal_batches(features, torch.ones(700), plan, 5)
    assert plan[0] == 2
    first, second = deal(0, 0), deal(1, 0)
    seen = torch.cat([first["features_BF"], second["features_BF"]]).ravel()
    assert torch.equal(seen.sort().values, features.ravel())
    assert first["n_targets"] == 350
    assert torch.equal(deal(1, 0)["features_BF"], second["features_BF"])
    last = deal(sum(plan) - 1, 0)
    assert last["n_targets"] == 700
