"""The loss by hand; toy species are learnt; strands, files and pairs without species."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from species_examples import ToyPairs, cluster_ari, make_contigs

from genomelm_utils.baselines.kmer_contrastive import (
    KmerEncoder,
    KmerEncoderConfig,
    bernoulli_loss,
    embed_kmers,
    load_kmer_encoder,
    train_kmer_encoder,
)
from genomelm_utils.sequences.alphabet import encode, reverse_complement


def test_loss_by_hand():
    first = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    second = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    other = ~torch.eye(2, dtype=torch.bool)
    p = np.exp(-np.array([[1.0, 1.0], [2.0, 0.0]]))
    expected = -(np.log(p[0, 0]) + np.log(p[1, 1]) + np.log(1 - p[0, 1]) + np.log(1 - p[1, 0])) / 4
    assert bernoulli_loss(first, second, other).item() == pytest.approx(expected, rel=1e-5)
    # a negative of the same species does not count
    other[0, 1] = False
    expected = -(np.log(p[0, 0]) + np.log(p[1, 1]) + np.log(1 - p[1, 0])) / 3
    loss = bernoulli_loss(first, second, other)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert torch.isfinite(first.grad).all()


def test_collapsed_embeddings_have_finite_loss_and_gradient():
    first = torch.zeros(3, 2, requires_grad=True)
    loss = bernoulli_loss(first, torch.zeros(3, 2), ~torch.eye(3, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(first.grad).all()


def test_learns_toy_species_and_repeats_itself(rng, tmp_path):
    codes, labels = make_contigs(rng, n_species=6, n_contigs=10, length_bp=1500)
    pairs = ToyPairs(codes, labels)
    encoder, result = train_kmer_encoder(
        pairs, steps=40, pairs_per_step=48, folder=tmp_path / "mlp"
    )
    losses = result.history["train_loss"].dropna()
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    found = embed_kmers(encoder, codes)
    assert found.shape == (60, 256)
    assert found.dtype == np.float32
    assert cluster_ari(found, labels) > 0.9
    again, _ = train_kmer_encoder(pairs, steps=40, pairs_per_step=48)
    assert np.array_equal(found, embed_kmers(again, codes))
    assert np.array_equal(found, embed_kmers(load_kmer_encoder(result.checkpoint), codes))


@pytest.mark.parametrize("canonical", [True, False])
def test_strand_and_mode(rng, canonical):
    encoder = KmerEncoder(KmerEncoderConfig(canonical=canonical))
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (300, 80)]
    found = embed_kmers(encoder, codes)
    assert encoder.training
    other = embed_kmers(encoder, [reverse_complement(one) for one in codes])
    assert np.allclose(found, other, atol=1e-6) == canonical
    assert np.allclose(found[:1], embed_kmers(encoder, codes[:1]), atol=1e-6)


def test_architecture_of_the_source():
    encoder = KmerEncoder(KmerEncoderConfig(canonical=False))
    assert [tuple(p.shape) for p in encoder.parameters()] == [
        (512, 256),
        (512,),
        (512,),
        (512,),
        (256, 512),
        (256,),
    ]


def test_unknown_species_are_all_different_and_one_species_is_refused(rng):
    codes, _ = make_contigs(rng, n_species=2, n_contigs=4, length_bp=300)

    def source(species):
        batch = SimpleNamespace(first=codes[:4], second=codes[4:], species=np.array(species))
        return SimpleNamespace(pairs=lambda step, start, stop: batch)

    _, result = train_kmer_encoder(source([-1] * 4), steps=2, pairs_per_step=4)
    assert result.step == 2
    with pytest.raises(ValueError, match="all 4 pairs are of one species"):
        train_kmer_encoder(source([3] * 4), steps=2, pairs_per_step=4)


def test_sequences_without_words_are_told():
    with pytest.raises(ValueError, match="sequence 1 "):
        embed_kmers(KmerEncoder(KmerEncoderConfig()), [encode("ACGTA"), encode("NNNN")])
    with pytest.raises(ValueError, match="at least one"):
        embed_kmers(KmerEncoder(KmerEncoderConfig()), [])
