"""BERT's masking of single tokens, for vocabularies whose tokens do not overlap.

Byte-pair tokens share no bases, so hiding a token hides its bases and spans are not needed, unlike
with overlapping k-mers (`pretraining.masking`).

Letters: B rows, L positions, M masked tokens.
"""

import torch

from genomelm_utils.pretraining.masking import IGNORE, MASK_SHARE, RANDOM_SHARE


def mask_tokens_bert(
    ids_BL: torch.Tensor,
    mask_BL: torch.Tensor,
    *,
    generator: torch.Generator,
    mask_share: float = 0.15,
    mask_id: int,
    vocab_size: int,
    n_special: int,
    random_ids_R: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(input ids, labels): int64[B, L] as the model sees them, and the true ids, -100 elsewhere.

    Each token is asked for with chance `mask_share`, on its own; of those asked 80 % become
    `mask_id`, 10 % a random token and 10 % stay. Special tokens (`[UNK]` among them) are neither
    asked for nor, by default, put in. By chance a short row may have nothing to guess.

    Source: BERT, arXiv:1810.04805, section 3.1; the share of 15 % is also DNABERT-2's
    (arXiv:2306.15006).

    Args:
        ids_BL: int64 token ids (left as they are). mask_BL: bool, True at a row's own ids.
        generator: on the device of the ids. n_special: ids below it are special.
        random_ids_R: int64, what a random token is drawn from; by default all that are not special.
    Raises: ValueError for a share outside (0, 1).
    """
    chosen_BL = choose_tokens(
        ids_BL, mask_BL, generator=generator, mask_share=mask_share, n_special=n_special
    )
    true_M = ids_BL[chosen_BL]
    draw_M = torch.rand(true_M.shape, generator=generator, device=ids_BL.device)
    random_M = _draw_ids(true_M, generator, n_special, vocab_size, random_ids_R)
    seen_M = torch.where(draw_M < MASK_SHARE + RANDOM_SHARE, random_M, true_M)
    seen_M[draw_M < MASK_SHARE] = mask_id
    input_ids_BL = ids_BL.clone()
    input_ids_BL[chosen_BL] = seen_M
    return input_ids_BL, ids_BL.where(chosen_BL, IGNORE)


def choose_tokens(
    ids_BL: torch.Tensor,
    mask_BL: torch.Tensor,
    *,
    generator: torch.Generator,
    mask_share: float,
    n_special: int,
) -> torch.Tensor:
    """bool[B, L]: each token that is not special, with chance `mask_share`."""
    if not 0 < mask_share < 1:
        raise ValueError(f"mask_share is {mask_share}, expected in (0, 1); BERT masks 0.15")
    draw_BL = torch.rand(ids_BL.shape, generator=generator, device=ids_BL.device)
    return (draw_BL < mask_share) & mask_BL & (ids_BL >= n_special)


def _draw_ids(
    like_M: torch.Tensor,
    generator: torch.Generator,
    n_special: int,
    vocab_size: int,
    random_ids_R: torch.Tensor | None,
) -> torch.Tensor:
    if random_ids_R is None:
        low, high = n_special, vocab_size
    else:
        low, high = 0, len(random_ids_R)
    drawn_M = torch.randint(low, high, like_M.shape, generator=generator, device=like_M.device)
    return drawn_M if random_ids_R is None else random_ids_R.to(like_M.device)[drawn_M]
