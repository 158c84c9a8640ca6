"""A small convolutional network on the bases of promoters: what learns motifs without pretraining.

Two convolutions see words of about 30 bases; what they find is pooled apart for stretches at given
distances from the TSS, and a linear layer says what it means in each tissue.

Shapes: B batch, S promoters, L bases of the longest, T tissues, C channels, P places after pooling,
G stretches.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.baselines.kmer_ridge import BIN_ENDS_BP
from genomelm_utils.sequences.alphabet import CODE_N, N_BASES
from genomelm_utils.sequences.splits import split_by_group
from genomelm_utils.sequences.tss import Gaps, fill_gaps
from genomelm_utils.tasks.windows import Codes
from genomelm_utils.training.loop import fit
from genomelm_utils.training.prefetch import Batch

CHANNELS = 64
KERNELS = (11, 7)  # motifs of plants have 5 to 12 bases; the second joins neighbours
POOL_BP = 4
DROPOUT = 0.3
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.01
BATCH = 64
EPOCHS = 30
PATIENCE = 6  # epochs without a better validation loss
VALID_SHARE = 0.15  # of the training clusters, to stop at the right epoch
_ROWS_PER_FORWARD = 256


class PromoterCnn(nn.Module):
    """Base codes to one number per tissue: `cnn(codes_BL, upstream_B) -> [B, T]`.

    One-hot codes are made where the network is, from one byte per base. codes_BL: int, aligned at
    the right end, CODE_N where there is no base. gap_B: bases between the right end and the TSS.
    """

    def __init__(self, n_tissues: int, bin_ends_bp: Sequence[int] = BIN_ENDS_BP) -> None:
        super().__init__()
        self.bin_ends_bp = tuple(bin_ends_bp)
        first, second = KERNELS
        self.first = nn.Conv1d(N_BASES, CHANNELS, first, padding=first // 2)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.second = nn.Conv1d(CHANNELS, CHANNELS, second, padding=second // 2)
        self.dropout = nn.Dropout(DROPOUT)
        self.output = nn.Linear(CHANNELS * (len(self.bin_ends_bp) + 1), n_tissues)

    def forward(self, codes_BL: torch.Tensor, gap_B: torch.Tensor) -> torch.Tensor:
        bases = torch.arange(N_BASES, device=codes_BL.device)
        hot_BNL = (codes_BL[:, None, :] == bases[:, None]).to(self.first.weight.dtype)
        return self.read(hot_BNL, codes_BL, gap_B)

    def read(
        self, hot_BNL: torch.Tensor, codes_BL: torch.Tensor, gap_B: torch.Tensor
    ) -> torch.Tensor:
        """[B, T] of one-hot codes [B, 4, L], or of numbers in their place (attributions)."""
        found_BCL = functional.relu(self.norm(self.first(hot_BNL)))
        # where there is no base nothing is found: otherwise bias and norm fill the padding, and a
        # promoter's prediction depends on how wide its batch is
        found_BCL = found_BCL * (codes_BL < N_BASES)[:, None, :]
        found_BCP = functional.max_pool1d(found_BCL, POOL_BP)
        found_BCP = functional.relu(self.second(found_BCP))
        weight_BGP = self._stretches(codes_BL, gap_B, found_BCP.shape[-1]).to(found_BCP.dtype)
        total_BGC = torch.einsum("bgp,bcp->bgc", weight_BGP, found_BCP)
        mean_BGC = total_BGC / weight_BGP.sum(-1, keepdim=True).clamp(min=1)
        return self.output(self.dropout(mean_BGC.flatten(1)))

    def _stretches(
        self, codes_BL: torch.Tensor, gap_B: torch.Tensor, n_places: int
    ) -> torch.Tensor:
        """bool [B, G, P]: whether a place holds a base, in each stretch of distances."""
        length = codes_BL.shape[1]
        n_used = n_places * POOL_BP
        is_base_BL = (codes_BL[:, :n_used] < N_BASES).view(len(codes_BL), n_places, POOL_BP)
        # bases upstream of the TSS, at the middle of each place
        middle_P = torch.arange(n_places, device=codes_BL.device) * POOL_BP + POOL_BP // 2
        upstream_BP = length - middle_P + gap_B[:, None]
        ends = torch.tensor(self.bin_ends_bp, device=codes_BL.device)
        bin_BP = torch.bucketize(upstream_BP, ends)
        stretches = torch.arange(len(ends) + 1, device=codes_BL.device)
        return (bin_BP[:, None, :] == stretches[:, None]) & is_base_BL.any(-1)[:, None, :]


class MaskedSquares(nn.Module):
    """Squared error over labels that were measured, for `training.loop.fit`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, codes_BL: torch.Tensor, gap_B: torch.Tensor, labels_BT: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """(sum of squared errors, number of labels); NaN labels count in neither."""
        known_BT = torch.isfinite(labels_BT)
        missed_BT = self.model(codes_BL, gap_B).float() - labels_BT.nan_to_num()
        return (missed_BT.square() * known_BT).sum(), int(known_BT.sum())


def predict_cnn(
    train: tuple[Codes, Gaps, np.ndarray],
    test: tuple[Codes, Gaps],
    clusters_S: np.ndarray,
    seed: int,
    *,
    epochs: int = EPOCHS,
) -> np.ndarray:
    """Predictions float32 [S, T] of a network trained here, on the scale of the labels.

    Labels are standardised per tissue inside. A part of the training clusters (15 %) only says
    which epoch was best; its weights are taken. The same seed gives the same network on one
    machine's CPU. The test set has no part in the training.

    Args:
        train: base codes, gap_bp, labels [S, T] with NaN = not measured. test: codes and gap_bp.
        clusters_S: of the training rows. epochs: at most.
    Raises: ValueError for a tissue without labels (its number is named), or a single cluster.
    """
    codes, gap_bp, labels_ST = train
    counts_T = np.isfinite(labels_ST).sum(0)
    if not counts_T.all():
        raise ValueError(
            f"output {int(counts_T.argmin())} (0-based) has no label in {len(labels_ST)} training "
            "rows; leave the tissue out"
        )
    center_T, spread_T = np.nanmean(labels_ST, 0), np.nanstd(labels_ST, 0)
    spread_T = np.where(spread_T > 0, spread_T, 1.0)
    rows = _stack(codes, gap_bp, (labels_ST - center_T) / spread_T)
    shares = {"train": 1 - VALID_SHARE, "valid": VALID_SHARE}
    parts = split_by_group(np.asarray(clusters_S), shares, np.random.default_rng(seed))
    if not all(len(part) for part in parts.values()):
        raise ValueError(
            f"{len(labels_ST)} training rows are in one cluster, expected at least two: one part "
            "says when to stop"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cnn = PromoterCnn(labels_ST.shape[1])
    task = MaskedSquares(cnn)
    fit_cnn(task, rows, parts["train"], parts["valid"], seed=seed, epochs=epochs)
    test_rows = _stack(test[0], test[1], None)
    scaled_ST = _predict(cnn, test_rows, np.arange(len(test[0])))
    return (scaled_ST.numpy() * spread_T + center_T).astype(np.float32)


def fit_cnn(
    task: MaskedSquares,
    rows: dict[str, torch.Tensor],
    train: np.ndarray,
    valid: np.ndarray,
    *,
    seed: int,
    epochs: int,
) -> None:
    """Train in place; the weights of the epoch with the lowest validation loss are kept."""
    per_epoch = max(1, len(train) // BATCH)
    best: dict[str, object] = {"loss": float("inf"), "weights": None}

    def make_batch(step: int, micro: int) -> Batch:
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(train)
        chosen = torch.from_numpy(np.sort(np.array_split(order, per_epoch)[place]))
        batch = {name: tensor[chosen] for name, tensor in rows.items()}
        return batch | {"n_targets": int(torch.isfinite(batch["labels_BT"]).sum())}

    def evaluate(module: MaskedSquares) -> dict[str, float]:
        predicted_ST = _predict(module.model, rows, valid)
        loss = float((predicted_ST - rows["labels_BT"][valid]).square().nanmean())
        if loss < best["loss"]:
            best.update(loss=loss, weights=deepcopy(module.model.state_dict()))
        return {"loss": loss}

    fit(
        task,
        make_batch,
        steps=epochs * per_epoch,
        peak_lr=PEAK_LR,
        warmup_steps=per_epoch,
        weight_decay=WEIGHT_DECAY,
        evaluate=evaluate,
        eval_every=per_epoch,
        log_every=per_epoch,
        monitor="loss",
        patience=PATIENCE,
        seed=seed,
        progress=False,
    )
    if best["weights"] is not None:  # None: no validation row has a label
        task.model.load_state_dict(best["weights"])


def _predict(cnn: nn.Module, rows: dict[str, torch.Tensor], chosen: np.ndarray) -> torch.Tensor:
    """float32 [S, T] of some rows, on the CPU; the network's mode is left as it was."""
    was_training, device = cnn.training, next(cnn.parameters()).device
    cnn.eval()
    parts = []
    with torch.no_grad():
        for begin in range(0, len(chosen), _ROWS_PER_FORWARD):
            block = torch.from_numpy(chosen[begin : begin + _ROWS_PER_FORWARD])
            inputs = (rows[name][block].to(device) for name in ("codes_BL", "gap_B"))
            parts.append(cnn(*inputs).float().cpu())
    cnn.train(was_training)
    return torch.cat(parts)


def _stack(codes: Codes, gap_bp: Gaps, labels_ST: np.ndarray | None) -> dict[str, torch.Tensor]:
    """All rows as tensors, promoters aligned at their right end, one byte per base."""
    # as wide as a whole number of pooled places, so that these are aligned at the right end too
    longest = max(len(one) for one in codes)
    width = -(-longest // POOL_BP) * POOL_BP
    codes_SL = np.full((len(codes), width), CODE_N, dtype=np.uint8)
    for row, one in zip(codes_SL, codes, strict=True):
        row[width - len(one) :] = one
    gaps_S = fill_gaps(gap_bp, len(codes))
    rows = {"codes_BL": torch.from_numpy(codes_SL), "gap_B": torch.from_numpy(gaps_S)}
    if labels_ST is not None:
        rows["labels_BT"] = torch.from_numpy(labels_ST.astype(np.float32))
    return rows
