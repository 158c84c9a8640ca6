"""How well a model tells genomes apart while it is trained, on pairs that stay the same.

Letters: S pairs, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from genomelm_utils.models.alibi_bert import mean_embedding
from genomelm_utils.tasks.contrastive import NO_SPECIES, ContrastiveTask, same_species
from genomelm_utils.tasks.contrastive_batches import read_strands
from genomelm_utils.tokenizers.bpe import pad_batch, tokenize_codes
from genomelm_utils.training.losses import weighted_simclr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from genomelm_utils.tasks.contrastive_batches import PairSource

_ROWS = 64  # windows encoded at a time, of similar length


@dataclass(frozen=True)
class FrozenPairs:
    """Validation pairs as token ids, int32[L] each, with [CLS] and [SEP]; species int64[S].

    first, second: with `n_strands` 2 each window is followed by its reverse complement.
    """

    first: list[np.ndarray]
    second: list[np.ndarray]
    species: np.ndarray
    pad_id: int
    n_strands: int = 1

    def __len__(self) -> int:
        return len(self.species)


def freeze_pairs(
    pairs: "PairSource",
    tokenizer: "PreTrainedTokenizerFast",
    n_pairs: int,
    max_tokens: int | None = None,
    ambiguous: str = "unk",
    strands: str = "both",
) -> FrozenPairs:
    """The first `n_pairs` pairs of a source, tokenised once: two windows of a genome each.

    strands: "both", or another word for the strand that the source gives.

    Raises: ValueError for fewer than two pairs.
    """
    if n_pairs < 2:
        raise ValueError(f"found {n_pairs} validation pairs, expected at least 2")
    found = pairs.pairs(0, 0, n_pairs)
    first, second = (
        tokenize_codes(
            tokenizer,
            read_strands(windows, strands),
            ambiguous=ambiguous,
            max_tokens=max_tokens,
        )
        for windows in (found.first, found.second)
    )
    species = np.asarray(found.species, dtype=np.int64)
    n_strands = 2 if strands == "both" else 1
    return FrozenPairs(first, second, species, tokenizer.pad_token_id, n_strands)


def validate_pairs(task: ContrastiveTask, pairs: FrozenPairs, block: int) -> dict[str, float]:
    """Loss and retrieval accuracy of frozen pairs.

    `loss`: weighted SimCLR at the task's temperature, whatever it is trained with, in blocks of
    about `block` pairs (it grows with the number of negatives); pairs of one species are told apart
    only if the task's training does so. `accuracy`: share of first windows whose nearest second
    window, by the cosine of the embeddings (not projected), is of the same species; where the
    species is unknown, is its own partner.

    Source of the loss: released `val`, there also for models trained with mixtures.
    """
    # one order for both views, so that the longest windows are encoded together
    embedded = embed_ids(task, [*pairs.first, *pairs.second], pairs.pad_id)
    first_SD, second_SD = embedded.unflatten(0, (2, -1, pairs.n_strands)).mean(2)
    species = torch.from_numpy(pairs.species).to(first_SD.device)
    return {
        "loss": _block_loss(task, first_SD, second_SD, species, block),
        "accuracy": retrieval_accuracy(first_SD, second_SD, species),
    }


def embed_ids(
    task: ContrastiveTask, ids_list: Sequence[np.ndarray], pad_id: int, rows: int = _ROWS
) -> torch.Tensor:
    """Mean embeddings float32[S, D] of token ids, on the model's device, in the given order."""
    order = np.argsort([-len(ids) for ids in ids_list], kind="stable")
    device = next(task.parameters()).device
    parts = []
    for start in range(0, len(order), rows):
        ids_BL, mask_BL = pad_batch([ids_list[i] for i in order[start : start + rows]], pad_id)
        hidden = task.model.encode(ids_BL.to(device), mask_BL.to(device))
        parts.append(mean_embedding(*hidden))
    back = torch.from_numpy(np.argsort(order)).to(device)
    return torch.cat(parts)[back]


def retrieval_accuracy(
    first_SD: torch.Tensor, second_SD: torch.Tensor, species_S: torch.Tensor
) -> float:
    """Share of first windows whose nearest second window (cosine) is of the same species."""
    with torch.autocast(first_SD.device.type, enabled=False):
        cosine_SS = F.normalize(first_SD.float(), dim=1) @ F.normalize(second_SD.float(), dim=1).T
    nearest_S = cosine_SS.argmax(1)
    own_S = nearest_S == torch.arange(len(nearest_S), device=nearest_S.device)
    known_S = species_S != NO_SPECIES
    hit_S = own_S | (known_S & (species_S[nearest_S] == species_S))
    return hit_S.double().mean().item()


def _block_loss(
    task: ContrastiveTask,
    first_SD: torch.Tensor,
    second_SD: torch.Tensor,
    species_S: torch.Tensor,
    block: int,
) -> float:
    """Mean over all pairs of the loss within equal blocks, none of them with a single pair."""
    n_blocks = max(1, len(first_SD) // max(block, 2))
    total = 0.0
    for rows in torch.arange(len(first_SD), device=first_SD.device).tensor_split(n_blocks):
        same_BB = None if task.same_species_negatives else same_species(species_S[rows])
        views = task.project(first_SD[rows]), task.project(second_SD[rows])
        loss = weighted_simclr(*views, task.temperature, same_BB=same_BB)
        total += loss.item() * len(rows)
    return total / len(first_SD)
