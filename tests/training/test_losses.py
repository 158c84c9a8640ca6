"""Contrastive losses: published values, naive double loops, extremes, shares of a batch."""

import math

import pytest
import torch

from genomelm_utils.training.losses import imix, simclr, weighted_simclr

FIRST_DEG, SECOND_DEG = (0.0, 60.0, 150.0), (10.0, 90.0, 200.0)
PARTNER, WEIGHT = torch.tensor([2, 0, 1]), torch.tensor([0.9, 0.6, 0.75])


def at_degrees(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1).float()


def random_units(rng, n: int, width: int = 8) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, width))).float())


# ---- values of the released code (golden facts 5-8)


def test_two_orthogonal_pairs():
    eye = torch.eye(2)
    assert weighted_simclr(eye, eye, 1.0).item() == pytest.approx(0.5514447139, abs=1e-6)
    assert weighted_simclr(eye, eye, 0.05).item() == pytest.approx(4.1223e-9, rel=1e-3)


@pytest.mark.parametrize(
    ("temperature", "weighted", "plain"),
    [
        (1.0, 1.0821491163, 0.9483216776),
        (0.5, 0.8623948306, 0.5924569045),
        (0.05, 0.0428242392, 0.0116351985),
    ],
)
def test_three_pairs_of_the_plane(temperature, weighted, plain):
    views = at_degrees(*FIRST_DEG), at_degrees(*SECOND_DEG)
    assert weighted_simclr(*views, temperature).item() == pytest.approx(weighted, rel=1e-5)
    assert simclr(*views, temperature).item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("temperature", "mixed", "unmixed"),
    [
        (1.0, 0.8530705435, 0.7472565244),
        (0.5, 0.8420164505, 0.6303884123),
        (0.05, 2.1601574062, 0.0438770233),
    ],
)
def test_released_imix(temperature, mixed, unmixed):
    views = at_degrees(*FIRST_DEG), at_degrees(*SECOND_DEG)
    found = imix(*views, PARTNER, WEIGHT, temperature, reference=True)
    assert found.item() == pytest.approx(mixed, rel=1e-5)
    identity = torch.arange(3)
    for reference in (True, False):  # without a partner the two forms are one
        found = imix(*views, identity, WEIGHT, temperature, reference=reference)
        assert found.item() == pytest.approx(unmixed, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.001])
def test_collapsed_embeddings(temperature, rng):
    z = torch.ones(48, 1)
    partner, weight = torch.from_numpy(rng.permutation(48)), torch.rand(48)
    assert weighted_simclr(z, z, temperature).item() == pytest.approx(math.log(95), rel=1e-5)
    for reference in (True, False):
        loss = imix(z, z, partner, weight, temperature, reference=reference)
        assert loss.item() == pytest.approx(math.log(48), rel=1e-5)


# ---- against the definition, term by term


def naive_two_sided(first, second, temperature, same, weighted):
    z, n = torch.cat([first, second]).double(), len(first)
    losses = []
    for i in range(2 * n):
        mate = (i + n) % (2 * n)
        terms = [
            math.exp(float(z[i] @ z[j]) / temperature)
            for j in range(2 * n)
            if j not in (i, mate) and not same[i % n, j % n]
        ]
        positive = math.exp(float(z[i] @ z[mate]) / temperature)
        mean = sum(terms) / len(terms) if terms else 1.0
        total = sum(t * t / mean for t in terms) if weighted else sum(terms)
        losses.append(-math.log(positive / (positive + total)))
    return losses


@pytest.mark.parametrize("weighted", [True, False])
def test_same_species_is_no_negative(rng, weighted):
    first, second = random_units(rng, 6), random_units(rng, 6)
    species = torch.tensor([0, 1, 0, 2, 2, 3])
    same = species[:, None] == species
    loss = weighted_simclr if weighted else simclr
    losses = naive_two_sided(first, second, 0.3, same, weighted)
    found = loss(first, second, 0.3, same_BB=same)
    assert found.item() == pytest.approx(sum(losses) / 12, rel=1e-5)
    part = [*losses[2:4], *losses[8:10]]
    found = loss(first, second, 0.3, same_BB=same, rows=slice(2, 4))
    assert found.item() == pytest.approx(sum(part) / 4, rel=1e-5)


def test_corrected_imix_is_the_cross_entropy_of_its_labels(rng):
    """Term by term: answers i and partner, weighted negatives, one denominator."""
    mixed, other = random_units(rng, 5), random_units(rng, 5)
    partner, weight = [1, 0, 2, 4, 3], [0.7, 0.6, 0.8, 1.0, 0.5]
    losses = []
    for i in range(5):
        n = [math.exp(float(mixed[i] @ other[j]) / 0.2) for j in range(5)]
        rest = [n[j] for j in range(5) if j not in (i, partner[i])]
        negatives = sum(t * t for t in rest) / (sum(rest) / len(rest))
        total = n[i] + negatives + (n[partner[i]] if partner[i] != i else 0)
        losses.append(
            -weight[i] * math.log(n[i] / total) - (1 - weight[i]) * math.log(n[partner[i]] / total)
        )
    partner_R, weight_R = torch.tensor(partner), torch.tensor(weight)
    found = imix(mixed, other, partner_R, weight_R, 0.2)
    assert found.item() == pytest.approx(sum(losses) / 5, rel=1e-5)
    rows = slice(2, 4)
    found = imix(mixed[rows], other, partner_R[rows], weight_R[rows], 0.2, rows=rows)
    assert found.item() == pytest.approx(sum(losses[2:4]) / 2, rel=1e-5)


def test_corrected_imix_reaches_the_entropy_of_its_labels_and_the_released_does_not():
    """A mixture between its two sources, all else far away: similarities fit the labels."""
    temperature, weight = 0.05, 0.7
    shift = temperature * math.log(weight / (1 - weight))
    sources = torch.eye(4)
    level = 0.6
    mixed = torch.zeros(4, 4)
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        mixed[i, i], mixed[i, j] = level + shift, level
    partner, weights = torch.tensor([1, 0, 3, 2]), torch.full((4,), weight)
    entropy = -weight * math.log(weight) - (1 - weight) * math.log(1 - weight)
    corrected = imix(mixed, sources, partner, weights, temperature)
    released = imix(mixed, sources, partner, weights, temperature, reference=True)
    assert corrected.item() == pytest.approx(entropy, abs=1e-4)
    assert released.item() > entropy + 0.1


def test_same_species_of_either_source_is_no_negative_of_a_mixture(rng):
    mixed, other = random_units(rng, 4), random_units(rng, 4)
    partner, weight = torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.8)
    same = torch.eye(4, dtype=torch.bool)
    same[1, 2] = same[2, 1] = True
    kept = imix(mixed, other, partner, weight, 0.1, same_BB=same)
    moved = other.clone()
    moved[2] = -moved[2]  # neither mixture 0 = (0, 1) nor 1 = (1, 0) sees pair 2
    for row in (0, 1):
        rows = slice(row, row + 1)
        args = (partner[rows], weight[rows], 0.1)
        before = imix(mixed[rows], other, *args, same_BB=same, rows=rows)
        after = imix(mixed[rows], moved, *args, same_BB=same, rows=rows)
        assert before.item() == after.item()
    assert torch.isfinite(kept)


# ---- extremes


@pytest.mark.parametrize("loss", [weighted_simclr, simclr])
def test_no_temperature_overflows(loss, rng):
    first = random_units(rng, 16).requires_grad_()
    found = loss(first, random_units(rng, 16), 1e-4)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize("loss", [weighted_simclr, simclr])
def test_anchor_without_negatives_costs_nothing(loss, rng):
    first, second = random_units(rng, 3).requires_grad_(), random_units(rng, 3)
    found = loss(first, second, 0.1, same_BB=torch.ones(3, 3, dtype=torch.bool))
    found.backward()
    assert found.item() == 0
    assert torch.equal(first.grad, torch.zeros_like(first))


def test_half_precision_input_is_computed_in_float32(rng):
    views = [random_units(rng, 8).bfloat16() for _ in range(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = weighted_simclr(*views, 0.05)
    assert found.dtype == torch.float32
    assert found.item() == weighted_simclr(*[v.float() for v in views], 0.05).item()


def test_too_few_pairs_and_bad_temperatures():
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match="at least 2 pairs in a batch, found 1"):
        weighted_simclr(one, one, 0.05)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        imix(one, one, torch.zeros(1, dtype=torch.long), torch.ones(1), 0.05)
    with pytest.raises(ValueError, match="temperature is 0, expected a number above 0"):
        simclr(torch.eye(2), torch.eye(2), 0)
