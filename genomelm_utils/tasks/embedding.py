"""One vector per DNA sequence: the mean of an encoder's last hidden states, for any lengths.

Sequences are cut into windows, windows are tokenised in blocks (in other threads, while the device
computes), and rows of similar length share a batch of a fixed number of ids, longest first: little
padding, and what does not fit into memory fails at once. The mean over the tokens is taken on the
device, so that only [B, D] numbers leave it.

Shapes: S sequences, B rows of a batch, L ids, D width.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from genomelm_utils.models.alibi_bert import AlibiBertModel, mean_embedding
from genomelm_utils.tasks.embedding_batches import (
    Batch,
    look_ahead,
    make_batches,
    make_blocks,
    place_windows,
)
from genomelm_utils.tasks.embedding_models import encoder_of, max_ids_of, rows_of
from genomelm_utils.training.device import autocast, choose_precision, matmul_precision

if TYPE_CHECKING:
    from tqdm import tqdm
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

WINDOW_BP = 10_000  # Source: DNABERT-S was trained on pieces of 10,000 bp
STRANDS = ("forward", "both")
TOKEN_BUDGET = {"cpu": 8192, "cuda": 131_072}  # ids of a batch, padding included


@dataclass(frozen=True)
class Recipe:
    """All that decides the numbers of an embedding, besides model, tokenizer and sequences."""

    window_bp: int
    overlap: float
    strands: str
    ambiguous: str
    max_tokens: int | None
    precision: str

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, for a cache's key or a receipt."""
        return asdict(self)


def embedding_recipe(
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_tokens: int | None = None,
    window_bp: int = WINDOW_BP,
    overlap: float = 0.0,
    strands: str = "forward",
    ambiguous: str = "unk",
    device: str | torch.device | None = None,
    dtype: str = "auto",
) -> Recipe:
    """The arguments of `embed`, checked, with what "auto" and None come to for this model."""
    if window_bp < 1:
        raise ValueError(f"window_bp is {window_bp}, expected at least 1 base")
    if not 0 <= overlap <= 0.5:
        raise ValueError(f"overlap is {overlap}, expected a share of the window in [0, 0.5]")
    if strands not in STRANDS:
        raise ValueError(f"strands is {strands!r}, expected {' or '.join(STRANDS)}")
    rows = rows_of(tokenizer, ambiguous)
    limits = [limit for limit in (max_tokens, max_ids_of(model, tokenizer)) if limit is not None]
    limit = min(limits, default=None)
    if limit is not None and limit <= rows.n_front + rows.n_back:
        raise ValueError(f"max_tokens is {limit}, no room for tokens beside the special ones")
    precision, reason = choose_precision(dtype, device_of(model, device))
    logger.debug("embedding in %s: %s", precision, reason)
    return Recipe(int(window_bp), float(overlap), strands, ambiguous, limit, precision)


def embed(
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    sequences: Sequence[np.ndarray],
    *,
    token_budget: int | None = None,
    max_tokens: int | None = None,
    window_bp: int = WINDOW_BP,
    overlap: float = 0.0,
    strands: str = "forward",
    ambiguous: str = "unk",
    device: str | torch.device | None = None,
    dtype: str = "auto",
    progress: "bool | tqdm | None" = None,
) -> np.ndarray:
    """Embeddings float32 [S, D] in the order of the sequences: masked means of the last states.

    [CLS] and [SEP] count, padding does not; vectors are not normalised. A sequence longer than
    `window_bp` is the mean of its windows, weighted by their definite bases; a row of more than
    `max_tokens` ids is divided evenly (never truncated), its parts weighted by their tokens.

    Args:
        sequences: uint8 base codes, any lengths.
        token_budget: ids of a batch, padding included; None takes 8,192 on a CPU and 131,072 on
            CUDA. It changes the results by rounding only (less than 1e-5).
        max_tokens: ids of a row with special tokens; None: what the model's positions allow.
        window_bp, overlap: width of the windows, and the share [0, 0.5] two neighbours have in
            common. The last window of a sequence may be shorter.
        strands: "forward", or "both": the mean over the sequence and its reverse complement, the
            same for whichever strand is given, at twice the time.
        ambiguous: "unk" or "skip", see `embedding_models.rows_of`.
        device: where to compute; None: where the model is. The model is put back afterwards.
        dtype: "fp32", "bf16" (autocast), or "auto": bf16 on CUDA, fp32 on a CPU.
        progress: True or False for a bar of bases, None for one on terminals only, or a bar to
            advance.
    Errors: ValueError for a sequence without a definite base (its index is named), or arguments
    out of range.
    Source: pooling, DNABERT-S (Zhou et al. 2024, arXiv:2402.08777); windows: DNABERT-2's advice for
    sequences beyond 10 kb, to divide and average.
    """
    recipe = embedding_recipe(
        model,
        tokenizer,
        max_tokens=max_tokens,
        window_bp=window_bp,
        overlap=overlap,
        strands=strands,
        ambiguous=ambiguous,
        device=device,
        dtype=dtype,
    )
    place = device_of(model, device)
    budget = token_budget or TOKEN_BUDGET.get(place.type, TOKEN_BUDGET["cpu"])
    windows = place_windows(sequences, window_bp, overlap, both=strands == "both")
    n_bases = sum(len(codes) for codes in sequences)
    rows = rows_of(tokenizer, ambiguous)
    blocks = look_ahead(make_blocks(sequences, windows, rows, recipe.max_tokens))
    batches = look_ahead(make_batches(blocks, budget, rows.pad_id, pin=place.type == "cuda"))
    with ready_encoder(model, place, recipe.precision) as encoder, _bar(progress, n_bases) as bar:
        out_SD = np.zeros((len(sequences), encoder.config.hidden_size), np.float32)
        for batch, values_BD in _compute(encoder, batches, place):
            np.add.at(out_SD, batch.sequence_B, batch.weight_B[:, None] * values_BD)
            bar.update(batch.n_bases * n_bases / windows.n_bases)
    return out_SD


def mean_states(encoder: nn.Module, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    """Mean of the last hidden states where the mask is True: float32 [B, D]."""
    if isinstance(encoder, AlibiBertModel):
        return mean_embedding(*encoder.encode(ids_BL, mask_BL))
    output = encoder(input_ids=ids_BL, attention_mask=mask_BL.to(ids_BL.dtype))
    return mean_embedding(output.last_hidden_state, mask_BL)


@contextmanager
def ready_encoder(model: PreTrainedModel, place: torch.device, precision: str) -> Iterator[Any]:
    """Inside: the encoder on `place`, in evaluation mode, without gradients, in this precision.

    The model's mode and device are put back on leaving.
    """
    with ready_model(model, place, precision):
        yield encoder_of(model)


@contextmanager
def ready_model(model: PreTrainedModel, place: torch.device, precision: str) -> Iterator[None]:
    """As `ready_encoder`, for the whole model with its head."""
    home, training = model.device, model.training
    try:
        model.to(place).eval()
        with torch.inference_mode(), matmul_precision(precision), autocast(place, precision):
            yield
    finally:
        model.to(home).train(training)


def _compute(
    encoder: nn.Module, batches: Iterable[Batch], place: torch.device
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch with its means; one is read while the device already works on the next."""
    waiting = None
    for batch in batches:
        ids_BL = batch.ids_BL.to(place, non_blocking=True)
        values_BD = mean_states(encoder, ids_BL, batch.mask_BL.to(place, non_blocking=True))
        if waiting is not None:
            yield waiting[0], waiting[1].cpu().numpy()
        waiting = batch, values_BD
    if waiting is not None:
        yield waiting[0], waiting[1].cpu().numpy()


def device_of(model: PreTrainedModel, device: str | torch.device | None) -> torch.device:
    """Where to compute: the device named, or where the model is."""
    return model.device if device is None else torch.device(device)


@contextmanager
def _bar(progress: "bool | tqdm | None", n_bases: int) -> Iterator["tqdm"]:
    """A new bar, or the one that was handed in, which stays open."""
    if progress is not None and not isinstance(progress, bool):
        yield progress
        return
    with open_bar(progress, n_bases) as bar:
        yield bar


def open_bar(progress: bool | None, total: int | None) -> "tqdm":
    """A progress bar in bases; None shows it on terminals only."""
    from tqdm.auto import tqdm

    hidden = None if progress is None else not progress
    return tqdm(total=total, unit="bp", unit_scale=True, desc="embedding", disable=hidden)
