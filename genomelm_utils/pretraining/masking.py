"""Which tokens of a batch of k-mer sequences a masked language model must guess, and what it sees.

Neighbouring k-mer tokens share k-1 bases, so hiding a base takes more than masking a token: a base
is hidden only when no visible token covers it. Both shares are reported for every batch, masked
tokens and hidden bases. The schemes themselves are in `pretraining.spans`.

All functions work on whole batches, on CPU or CUDA; the generator must live on the tensors' device.
Positions count `[CLS]` as 0: the n tokens of a row are 1..n and token t covers bases t-1..t+k-2.

Letters: B rows, L positions, M masked positions of the whole batch, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genomelm_utils.pretraining.spans import SCHEMES, check_choice, maskable, spans_from_centres
from genomelm_utils.tokenizers.kmer import MASK, N_SPECIAL, token_of_code, vocab_size

__all__ = [
    "SCHEMES",
    "Masked",
    "centre_prob_for_hidden",
    "draw_centres",
    "hidden_bases",
    "mask_tokens",
    "ranks_by_token",
    "spans_from_centres",
]

IGNORE = -100  # the label that torch's cross-entropy leaves out
# Source: BERT (Devlin et al. 2019), kept by DNABERT; the remaining tenth is left as it is
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
CORRUPTIONS = ("span", "token")


@dataclass(frozen=True)
class Masked:
    """A batch as a masked language model sees it, with how much of it is hidden."""

    input_ids_BL: torch.Tensor  # int64, corrupted
    labels_BL: torch.Tensor  # int64, the true id where masked, -100 elsewhere
    masked_BL: torch.Tensor  # bool, the tokens that count in the loss
    hidden_bases_B: torch.Tensor  # int64, covered by masked tokens only
    hidden_after_keep_B: torch.Tensor  # int64, the same with the unchanged masked tokens visible
    n_bases_B: torch.Tensor  # int64
    n_tokens_B: torch.Tensor  # int64, without special tokens

    @property
    def masked_share(self) -> float:
        """Masked tokens among all tokens."""
        return float(self.masked_BL.sum() / self.n_tokens_B.sum().clamp(min=1))

    @property
    def hidden_share(self) -> float:
        """Hidden bases among all bases, before some masked tokens are left unchanged."""
        return float(self.hidden_bases_B.sum() / self.n_bases_B.sum().clamp(min=1))

    @property
    def hidden_after_keep_share(self) -> float:
        """Hidden bases among all bases, as the model finds them."""
        return float(self.hidden_after_keep_B.sum() / self.n_bases_B.sum().clamp(min=1))


def mask_tokens(
    ids_BL: torch.Tensor,
    lengths_B: torch.Tensor,
    *,
    scheme: str,
    centre_prob: float,
    ranks_V: torch.Tensor | None = None,
    k: int = 6,
    generator: torch.Generator,
    corrupt: str = "span",
    progress: float = 0.0,
) -> Masked:
    """Draw centres, grow them to spans by the scheme, corrupt the spans: inputs, labels, shares.

    The masked share is not `centre_prob`: at 506 tokens 0.025 masks 14 % of them by `contiguous`,
    and 0.0176 masks 14 % by `genemask` and 15 % by `genemask_reference`. `[CLS]`, `[SEP]` and
    padding are never masked; `[UNK]` tokens are masked like others, as in the released code.

    ids_BL: int64 token ids with special tokens (left as they are). lengths_B: ids per row, `[CLS]`
    and `[SEP]` included. ranks_V: rank per token id, lower = higher PMI (`ranks_by_token`), needed
    by the schemes that rank k-mers; the entries of special tokens are not read.
    corrupt: "token" repeats the reference: each masked token alone becomes `[MASK]` (80 %), a
    random id, special ones included (10 %), or stays (10 %). One kept token shows its k bases, so
    about half of the hidden bases come to light; and a row that draws no centre has nothing to
    guess (one row in six at 100 tokens and p = 0.0176). "span" (corrected) draws once per maximal
    run of masked tokens: all `[MASK]`, all random k-mers, or all kept, so that no kept token
    uncovers bases of a span meant to be hidden; and a row without a centre gets one at random.
    progress: share of the training done, 0..1; read by `curriculum`.

    Raises ValueError for an unknown scheme, a value out of range, or a ranking that is missing.
    """
    check_choice("corrupt", corrupt, CORRUPTIONS)
    if not 0 < centre_prob < 1:
        raise ValueError(f"centre probability is {centre_prob}, expected in (0, 1)")
    per_span = corrupt == "span"
    centres_BL = draw_centres(lengths_B, ids_BL.shape[1], centre_prob, generator, per_span)
    masked_BL = spans_from_centres(
        ids_BL,
        lengths_B,
        centres_BL,
        scheme=scheme,
        ranks_V=ranks_V,
        k=k,
        generator=generator,
        progress=progress,
    )
    input_ids_BL, kept_BL = _corrupt(ids_BL, masked_BL, k, generator, per_span)
    return Masked(
        input_ids_BL=input_ids_BL,
        labels_BL=ids_BL.where(masked_BL, IGNORE),
        masked_BL=masked_BL,
        hidden_bases_B=hidden_bases(masked_BL, lengths_B, k),
        hidden_after_keep_B=hidden_bases(masked_BL & ~kept_BL, lengths_B, k),
        n_bases_B=_count_bases(lengths_B, k),
        n_tokens_B=(lengths_B - 2).clamp(min=0),
    )


def draw_centres(
    lengths_B: torch.Tensor,
    n_positions: int,
    p: float,
    generator: torch.Generator,
    force_one: bool = False,
) -> torch.Tensor:
    """bool[B, L]: every token of a row is a centre with probability p, special tokens never.

    force_one: rows without a centre get one at a uniformly random token (the smallest of the same
    random numbers), which leaves all other rows as they are. Rows without tokens stay empty.
    """
    shape = (len(lengths_B), n_positions)
    draw_BL = torch.rand(shape, generator=generator, device=lengths_B.device)
    # beyond every probability: 1 is never below p
    draw_BL.masked_fill_(~maskable(lengths_B, n_positions), 1.0)
    if not force_one:
        return draw_BL < p
    least_B = draw_BL.amin(dim=1, keepdim=True) if n_positions else draw_BL
    return (draw_BL < p) | ((draw_BL == least_B) & (least_B >= p) & (least_B < 1.0))


def hidden_bases(masked_BL: torch.Tensor, lengths_B: torch.Tensor, k: int) -> torch.Tensor:
    """int64[B]: bases of a row that no unmasked token covers.

    Token t covers bases t-1..t+k-2, so a lone span of s tokens away from the ends hides
    max(0, s-k+1) bases. Rows without tokens have no bases.
    """
    n_positions = masked_BL.shape[1]
    visible_BL = maskable(lengths_B, n_positions) & ~masked_BL
    covered_BL = visible_BL.new_zeros(len(visible_BL), n_positions + k - 1)
    for shift in range(k):
        covered_BL[:, shift : shift + n_positions] |= visible_BL
    return _count_bases(lengths_B, k) - covered_BL.sum(dim=1)


def ranks_by_token(rank_of_code: np.ndarray, k: int) -> torch.Tensor:
    """int64[V]: the rank of every token id, from ranks in k-mer code order (A, C, G, T).

    rank_of_code: int[4**k], 1 = highest PMI (`pretraining.pmi.rank_table`). Special tokens get a
    rank behind all others; the masking functions do not read it.
    """
    if len(rank_of_code) != 4**k:
        raise ValueError(
            f"ranking has {len(rank_of_code)} entries, expected one per {k}-mer: {4**k}; "
            f"rank {k}-mers with pretraining.pmi.ranking(counts, k={k})"
        )
    ranks = np.full(vocab_size(k), int(np.max(rank_of_code)) + 1, dtype=np.int64)
    ranks[token_of_code(k)] = rank_of_code
    return torch.from_numpy(ranks)


def centre_prob_for_hidden(
    scheme: str,
    target_share: float,
    n_tokens: int | Sequence[int],
    *,
    k: int = 6,
    ranks_V: torch.Tensor | None = None,
    n_rows: int = 2000,
    seed: int = 0,
    progress: float = 0.0,
    corrupt: str = "span",
) -> float:
    """The centre probability at which a scheme hides a given share of the bases (to about 0.1 %).

    With it schemes are compared at equal hidden bases, so that the choice of spans and their length
    are no longer confounded. Found by bisection on a simulation with fixed draws over random
    sequences; without ranks_V a random ranking stands in (which k-mers rank high hardly moves the
    share). Hidden means covered by masked tokens only; the 10 % kept are not subtracted, and hit
    all schemes alike when whole spans are kept.

    target_share: in (0, 1). n_tokens: tokens per row without special ones: one number, or the rows
    of a sample of the corpus (`lengths - 2` of a batch), repeated up to `n_rows`. Give a sample
    when rows differ in length: `genemask_reference` hides more in short rows, and the mean row's
    probability would miss by a percentage point. Raises ValueError when one centre per row already
    hides more than the target.
    """
    if not 0 < target_share < 1:
        raise ValueError(f"target share of hidden bases is {target_share}, expected in (0, 1)")
    generator = torch.Generator().manual_seed(seed)
    if ranks_V is None:
        ranks_V = torch.randperm(vocab_size(k), generator=generator)
    lengths_B = torch.from_numpy(np.resize(np.asarray(n_tokens, dtype=np.int64), n_rows)) + 2
    width = int(lengths_B.max())
    ids_BL = torch.randint(N_SPECIAL, vocab_size(k), (n_rows, width), generator=generator)

    def hidden_share(p: float) -> float:
        # the same random numbers for every p: the share rises with p, without noise between steps
        same = torch.Generator().manual_seed(seed + 1)
        centres_BL = draw_centres(lengths_B, width, p, same, force_one=corrupt == "span")
        masked_BL = spans_from_centres(
            ids_BL,
            lengths_B,
            centres_BL,
            scheme=scheme,
            ranks_V=ranks_V,
            k=k,
            generator=same,
            progress=progress,
        )
        hidden_B = hidden_bases(masked_BL, lengths_B, k)
        return float(hidden_B.sum() / _count_bases(lengths_B, k).sum())

    low, high = 0.0, 1.0
    if hidden_share(low) > target_share:
        raise ValueError(
            f"{scheme} hides {hidden_share(low):.4f} of the bases with one centre per row (mean "
            f"{np.mean(n_tokens):.0f} tokens), more than the target {target_share}: use longer rows"
        )
    for _ in range(20):  # to one in a million
        middle = (low + high) / 2
        low, high = (middle, high) if hidden_share(middle) < target_share else (low, middle)
    return (low + high) / 2


def _corrupt(
    ids_BL: torch.Tensor,
    masked_BL: torch.Tensor,
    k: int,
    generator: torch.Generator,
    per_span: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids as the model sees them, bool: masked tokens left unchanged)."""
    index_M = masked_BL.flatten().nonzero()[:, 0]
    device = index_M.device
    draw_M = torch.rand(len(index_M), generator=generator, device=device)
    if per_span:
        # [CLS] and [SEP] are never masked, so no run of flat indices crosses rows
        starts_M = torch.diff(index_M, prepend=index_M[:1]) > 1
        draw_M = draw_M[starts_M.cumsum(0)]
    lowest_id, n_ids = N_SPECIAL if per_span else 0, vocab_size(k)
    random_M = torch.randint(lowest_id, n_ids, index_M.shape, generator=generator, device=device)
    true_M = ids_BL.flatten()[index_M]
    seen_M = torch.where(draw_M < MASK_SHARE + RANDOM_SHARE, random_M, true_M)
    seen_M[draw_M < MASK_SHARE] = MASK
    input_ids_BL = ids_BL.clone(memory_format=torch.contiguous_format)
    input_ids_BL.view(-1)[index_M] = seen_M
    kept_BL = torch.zeros_like(masked_BL, memory_format=torch.contiguous_format)
    kept_BL.view(-1)[index_M] = draw_M >= MASK_SHARE + RANDOM_SHARE
    return input_ids_BL, kept_BL


def _count_bases(lengths_B: torch.Tensor, k: int) -> torch.Tensor:
    """Bases under the tokens of each row: n + k - 1, or none."""
    n_tokens_B = lengths_B - 2
    return torch.where(n_tokens_B > 0, n_tokens_B + k - 1, 0)
