"""What a frozen encoder gives, computed once: a probe's epochs then train pooling and head alone.

Shapes: S sequences, N ids of all rows, B rows of a batch, L ids of a padded row, D width.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from genomelm_utils.models.expression_heads import ExpressionModel
from genomelm_utils.tasks.embedding import TOKEN_BUDGET, ready_model
from genomelm_utils.tasks.expression_rows import TokenRows
from genomelm_utils.tasks.windows import batch_by_length
from genomelm_utils.training.device import choose_device, choose_precision

logger = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3  # of features kept in memory; beyond it every epoch encodes again


@dataclass(frozen=True)
class FrozenRows:
    """Rows with the encoder's output; batches of `TokenRows`, and what the encoder gave for them.

    pooled_SD: where the pooling has no weights of its own ('mean'); otherwise states_ND, the last
    hidden states of all ids end to end. One of both is None.
    """

    rows: TokenRows
    pooled_SD: np.ndarray | None
    states_ND: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def length_S(self) -> np.ndarray:
        """Ids of every row."""
        return self.rows.length_S

    def pad(self, rows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """`pooled_BD`, or `hidden_BLD` beside the tensors of `TokenRows.pad`."""
        if self.pooled_SD is not None:
            return {"pooled_BD": torch.from_numpy(self.pooled_SD[rows_B])}
        batch = self.rows.pad(rows_B)
        inside_BL = batch["attention_mask"].bool()
        begin_S = self.rows.begin_S
        places_N = np.concatenate([np.arange(begin_S[s], begin_S[s + 1]) for s in rows_B])
        hidden_BLD = torch.zeros(*inside_BL.shape, self.states_ND.shape[1])
        hidden_BLD[inside_BL] = torch.from_numpy(self.states_ND[places_N])
        return {**batch, "hidden_BLD": hidden_BLD}


def freeze_rows(model: ExpressionModel, rows: TokenRows) -> TokenRows | FrozenRows:
    """The rows with what the encoder gives in use (without dropout), or as they are.

    As they are, with a line in the log, where the features would take more than `MAX_BYTES`.
    """
    width, is_mean = model.encoder.config.hidden_size, model.config.pooling == "mean"
    n_vectors = len(rows) if is_mean else len(rows.ids_N)
    if 4 * n_vectors * width > MAX_BYTES:
        logger.info(
            "features of %d rows would take %.1f GiB: they are encoded again in every epoch",
            len(rows), 4 * n_vectors * width / 1024**3,
        )  # fmt: skip
        return rows
    out = np.empty((n_vectors, width), np.float32)
    place, _ = choose_device()
    precision, _ = choose_precision("auto", place)
    with ready_model(model, place, precision):
        for rows_B in batch_by_length(rows.length_S, TOKEN_BUDGET[place.type]):
            batch = {name: tensor.to(place) for name, tensor in rows.pad(rows_B).items()}
            if is_mean:
                out[rows_B] = model(**batch).pooled.float().cpu().numpy()
                continue
            hidden_BLD = model.encode(batch["input_ids"], batch["attention_mask"])
            hidden_ND = hidden_BLD.float()[batch["attention_mask"].bool()].cpu().numpy()
            ends_B = np.cumsum(rows.length_S[rows_B])
            for s, end in zip(rows_B, ends_B, strict=True):
                begin = rows.begin_S[s]
                length = rows.length_S[s]
                out[begin : begin + length] = hidden_ND[end - length : end]
    return FrozenRows(rows, out if is_mean else None, None if is_mean else out)
