"""Numbers of GeneMask's published settings and corpus that no other test holds.

Source: the specification of GeneMask, sections 2.2 to 2.5, golden facts 12, 14 and 18.
"""

import inspect

import numpy as np
import pytest
import torch

from genomelm_utils.pretraining.corpus import reference_pieces
from genomelm_utils.pretraining.masking import draw_centres, mask_tokens
from genomelm_utils.pretraining.mlm import GENEMASK_FIT, pretrain
from genomelm_utils.pretraining.spans import spans_from_centres
from genomelm_utils.tokenizers.kmer import N_SPECIAL, vocab_size

N_TOKENS = 506
# Definite bases of GRCh38's chromosomes 1 to 3, and the pieces that the released notebook cut.
BASES_OF_CHR1_TO_3 = 198_550_581 + 135_606_706 + 135_906_690 + 199_065_398
PIECES_OF_CHR1_TO_3 = 599_559 + 625_922 + 515_048


def grow(scheme: str, centre: int, k: int = 6, n_tokens: int = N_TOKENS, ranks=None, ids=None):
    """Masked positions of one row from one centre."""
    centres = torch.zeros(1, n_tokens + 2, dtype=torch.bool)
    centres[0, centre] = True
    ids = torch.full((1, n_tokens + 2), N_SPECIAL) if ids is None else ids
    masked = spans_from_centres(
        ids, torch.tensor([n_tokens + 2]), centres, scheme=scheme, ranks_V=ranks, k=k
    )
    return masked[0].nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("k", "offsets"),
    [
        (3, [-1, 0, 1]),
        (4, [-1, 0, 1, 2]),
        (5, [-2, -1, 0, 1, 2]),
        (6, [-2, -1, 0, 1, 2, 3]),
    ],
)
def test_plain_spans_of_every_k(k, offsets):
    assert grow("contiguous", 100, k) == [100 + offset for offset in offsets]


def test_spans_end_with_the_row():
    assert grow("contiguous", 1) == [1, 2, 3, 4]
    assert grow("contiguous", 506) == [504, 505, 506]
    ranks = torch.full((vocab_size(6),), 7)
    assert grow("genemask", 1, ranks=ranks) == list(range(1, 7))
    assert grow("genemask", 506, ranks=ranks) == list(range(501, 507))


@pytest.mark.parametrize(
    ("best", "middle"),
    [((), 100), ((98, 103), 98), ((99, 101), 99), ((101, 102), 101), ((102, 103), 102)],
    ids=["all equal: the centre", "-2 before 3", "-1 before 1", "1 before 2", "2 before 3"],
)
def test_ties_between_candidates(best, middle):
    """The centre wins a tie; then the first of the offsets -2, -1, 1, 2, 3."""
    ids = torch.full((1, N_TOKENS + 2), 5)
    ids[0, list(best)] = 6
    ranks = torch.full((vocab_size(6),), 9)
    ranks[6] = 1
    expected = set(range(middle - 5, middle + 6)) | set(range(98, 104))
    assert grow("genemask", 100, ranks=ranks, ids=ids) == sorted(expected)


def test_centres_per_row_and_how_often_there_are_at_most_eight():
    lengths = torch.full((20_000,), N_TOKENS + 2)
    for p, n_centres in ((0.025, 12.6), (0.0176, 8.9)):
        drawn = draw_centres(lengths, N_TOKENS + 2, p, torch.Generator().manual_seed(3))
        per_row = drawn.sum(dim=1)
        assert per_row.double().mean() == pytest.approx(n_centres, abs=0.1)
    assert (per_row <= 8).double().mean() == pytest.approx(0.467, abs=0.012)


@pytest.mark.parametrize(
    ("scheme", "p", "masked_per_hidden"),
    [("contiguous", 0.025, 4.0), ("contiguous", 0.0176, 4.5), ("genemask_reference", 0.0176, 1.9)],
)
def test_masked_tokens_per_hidden_base(scheme, p, masked_per_hidden):
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(N_SPECIAL, vocab_size(6), (3000, N_TOKENS + 2), generator=generator)
    masked = mask_tokens(
        ids,
        torch.full((3000,), N_TOKENS + 2),
        scheme=scheme,
        centre_prob=p,
        ranks_V=torch.randperm(vocab_size(6), generator=generator),
        generator=generator,
        corrupt="token",
    )
    found = masked.masked_BL.sum() / masked.hidden_bases_B.sum()
    assert float(found) == pytest.approx(masked_per_hidden, abs=0.06)


def test_short_rows_without_a_mask_are_the_references_alone():
    """At 100 tokens one row in six has nothing to guess as released, none when corrected."""
    lengths = torch.full((8000,), 102)
    ids = torch.full((8000, 102), N_SPECIAL)
    empty = {}
    for corrupt in ("token", "span"):
        masked = mask_tokens(
            ids,
            lengths,
            scheme="contiguous",
            centre_prob=0.0176,
            generator=torch.Generator().manual_seed(5),
            corrupt=corrupt,
        )
        empty[corrupt] = float((~masked.masked_BL.any(dim=1)).double().mean())
    assert empty["token"] == pytest.approx(0.16, abs=0.02)
    assert empty["span"] == 0


def test_number_of_pieces_of_the_published_corpus():
    """Golden fact 18: bases over the mean piece; checked where bases and pieces are both known."""
    assert 7_641_040 - 9_377 == 7_631_663
    codes = np.zeros(30_000_000, dtype=np.uint8)
    _, pieces = reference_pieces(codes, np.random.default_rng(2))
    mean_bp = float((pieces[:, 1] - pieces[:, 0]).mean())
    assert mean_bp == pytest.approx(384.5, rel=0.005)
    assert BASES_OF_CHR1_TO_3 / mean_bp == pytest.approx(PIECES_OF_CHR1_TO_3, rel=0.005)
    assert pytest.approx(PIECES_OF_CHR1_TO_3, rel=0.001) == BASES_OF_CHR1_TO_3 / 384.5


def test_pretraining_defaults_are_those_of_the_released_script():
    found = {name: p.default for name, p in inspect.signature(pretrain).parameters.items()}
    found |= GENEMASK_FIT
    script = {
        "preset": "dnabert6",
        "k": 6,
        "centre_prob": 0.0176,
        "steps": 10_000,
        "rows_per_step": 250,
        "micro_batches": 25,
        "warmup_steps": 500,
        "peak_lr": 8e-4,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "eval_every": 500,
        "save_every": 1000,
        "max_positions": 512,
        "seed": 42,
    }
    assert {name: found[name] for name in script} == script
