"""Embeddings the way the reference computes them: batches of equal count, padded to the longest.

To measure against and to test with; `tasks.embedding.embed` gives the same numbers sooner.

Shapes: S sequences, B rows of a batch, L ids, D width, H heads, E width of a head.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from genomelm_utils.models.alibi_attention import alibi_slopes
from genomelm_utils.models.alibi_bert import AlibiBertModel, mean_embedding
from genomelm_utils.tasks.embedding import device_of, mean_states, ready_encoder
from genomelm_utils.tasks.embedding_batches import truncate
from genomelm_utils.tasks.embedding_models import rows_of
from genomelm_utils.tokenizers.bpe import pad_batch
from genomelm_utils.training.device import choose_precision

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Source: DNABERT-S, evaluation of embeddings: model_max_length, and batch size per GPU.
MAX_TOKENS = 5000
BATCH_SIZE = 20
HIDDEN_KEY = -10000.0  # Source: DNABERT-2's bert_layers.py, added to the scores of padded keys
ORDERS = ("sorted", "given")


def embed_padded(
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    sequences: Sequence[np.ndarray],
    *,
    batch_size: int = BATCH_SIZE,
    max_tokens: int | None = MAX_TOKENS,
    order: str = "sorted",
    ambiguous: str = "unk",
    device: str | torch.device | None = None,
    dtype: str = "auto",
) -> np.ndarray:
    """Embeddings float32 [S, D] in the order of the sequences, computed on padded batches.

    Batches of `batch_size` sequences, tokenised one batch after the other, padded to the longest of
    the batch and cut off at `max_tokens` ids: longer sequences lose their tail, as in the
    reference. One strand, no windows. Our ALiBi encoder runs on the padding too.

    order: "sorted" by bases, ascending, as in the reference, or "given": as they come.
    Source: `calculate_llm_embedding` of the DNABERT-S repository.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}, expected {' or '.join(ORDERS)}")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    rows = rows_of(tokenizer, ambiguous)
    place = device_of(model, device)
    length_S = np.array([len(one) for one in sequences])
    order_S = np.argsort(length_S, kind="stable") if order == "sorted" else np.arange(len(length_S))
    found = []
    with ready_encoder(model, place, choose_precision(dtype, place)[0]) as encoder:
        for begin in range(0, len(order_S), batch_size):
            ids = rows.make([sequences[s] for s in order_S[begin : begin + batch_size]])
            ids = [truncate(row, max_tokens, rows.n_back) for row in ids]
            ids_BL, mask_BL = (part.to(place) for part in pad_batch(ids, rows.pad_id))
            found.append(_padded_means(encoder, ids_BL, mask_BL).cpu().numpy())
    out_SD = np.empty((len(order_S), encoder.config.hidden_size), np.float32)
    if found:
        out_SD[order_S] = np.concatenate(found)
    return out_SD


def _padded_means(encoder: nn.Module, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    if isinstance(encoder, AlibiBertModel):
        return mean_embedding(padded_states(encoder, ids_BL, mask_BL), mask_BL)
    return mean_states(encoder, ids_BL, mask_BL)


def padded_states(
    model: AlibiBertModel, ids_BL: torch.Tensor, mask_BL: torch.Tensor
) -> torch.Tensor:
    """Last hidden states [B, L, D] of the ALiBi encoder without packing: what the reference does.

    Padding goes through all layers (its states are not zeroed), and every sequence has a bias
    [H, L, L] of its own. Same weights, same numbers at the tokens.
    """
    slopes = alibi_slopes(model.config.num_attention_heads)
    slopes_H = torch.tensor(slopes, device=ids_BL.device)
    column_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
    distance_LL = (column_L[:, None] - column_L).abs()
    hidden_B11L = torch.where(mask_BL, 0.0, HIDDEN_KEY)[:, None, None, :]
    bias_BHLL = hidden_B11L - slopes_H[:, None, None] * distance_LL
    states_BLD = model.embeddings(ids_BL, None)
    for layer in model.encoder.layer:
        qkv_BL3HE = layer.attention.self.Wqkv(states_BLD).unflatten(-1, (3, len(slopes_H), -1))
        q_BHLE, k_BHLE, v_BHLE = qkv_BL3HE.permute(2, 0, 3, 1, 4)
        bias = bias_BHLL.to(q_BHLE.dtype)
        heads_BHLE = F.scaled_dot_product_attention(q_BHLE, k_BHLE, v_BHLE, attn_mask=bias)
        heads_BLD = heads_BHLE.transpose(1, 2).flatten(2)
        states_BLD = layer.mlp(layer.attention.output(heads_BLD, states_BLD))
    return states_BLD
