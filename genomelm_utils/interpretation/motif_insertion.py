"""What a motif does to a model's prediction: insert it into many sequences and compare.

Every motif goes into every background several times (replicates), each time in one or more copies
at random places, with bases drawn from the motif's matrix. All of that happens in whole batches on
the model's device: rows are numbered motif by background by replicate, and random numbers are a
hash of the row's own names, so a result depends neither on the batch size nor on which other motifs
are asked for.

Rules:
corrected   evaluation mode; each background's own prediction is made once; a copy may stand at any
            place, the last included.
reference   the released script: dropout stays on, the backgrounds are predicted anew for each
            motif, and a copy never ends at the last base.

Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code, `perform_motif_insertion_analysis`.

Shapes: M motifs, S backgrounds, R replicates, K copies, W positions of a motif, C outputs, L bases,
N rows of a batch.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from genomelm_utils.interpretation.motif_draws import InsertionDraws, Motifs
from genomelm_utils.models.motif_scan import motif_matrices
from genomelm_utils.models.promoter_blocks import find_lengths, stack_codes
from genomelm_utils.training.device import autocast, choose_precision, matmul_precision

logger = logging.getLogger(__name__)

RULES = ("corrected", "reference")
STRANDS = ("forward", "both")
COPIES = 10  # Source: Reddy et al., the script's default
#: On a GPU as in the released script. A CPU is fastest with what its cache holds: LegNet is half as
#: fast with 256 rows as with 8 (benchmarks/bench_promoter_nets.py).
BATCH_ROWS = {"cuda": 2048, "other": 16}
DRAW_ROWS = 512  # sequences made at a time, at least


@dataclass(frozen=True)
class MotifEffects:
    """What insertion did: prediction with the motif less that of the background as it is.

    effects_MSC: float32, mean over replicates. baseline_SC: float32, of the backgrounds.
    settings: what it was made with.
    """

    motifs: tuple[str, ...]
    outputs: tuple[str, ...]
    effects_MSC: np.ndarray
    baseline_SC: np.ndarray
    settings: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """As .npz, effects in float16 (three digits); written whole or not at all."""
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                motifs=np.array(self.motifs),
                outputs=np.array(self.outputs),
                effects_MSC=self.effects_MSC.astype(np.float16),
                baseline_SC=self.baseline_SC,
                settings=np.array(json.dumps(self.settings)),
            )
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "MotifEffects":
        """What `save` wrote; effects as float32 again."""
        with np.load(path) as found:
            return cls(
                tuple(found["motifs"].tolist()),
                tuple(found["outputs"].tolist()),
                found["effects_MSC"].astype(np.float32),
                found["baseline_SC"],
                json.loads(str(found["settings"])),
            )


def motif_effects(
    model: nn.Module,
    backgrounds: Sequence[str | np.ndarray] | torch.Tensor,
    motifs: Motifs,
    *,
    outputs: Sequence[str] | None = None,
    task: str | None = None,
    copies: int = COPIES,
    replicates: int = 1,
    seed: int = 0,
    strands: str = "forward",
    rule: str = "corrected",
    batch_rows: int | None = None,
    precision: str = "fp32",
    progress: bool = False,
) -> MotifEffects:
    """The effect of every motif in every background on every output.

    The model's device, modes and torch's random state are left as they were.

    Args:
        model: `model(codes uint8 [N, L])` gives [N, C], itself or as `.logits` (a `PromoterNet`);
            each row must depend on its own sequence.
        backgrounds: sequences of any lengths, or codes from `stack_codes`.
        motifs: see `models.motif_scan.motif_matrices`.
        outputs: names of the C outputs, by default the model's own, or numbers.
        task: handed to the model, where it has several.
        copies: of a motif in one sequence; a later copy may overwrite an earlier one.
        replicates: independent insertions that are averaged.
        strands: 'both' turns each copy around with a chance of one half.
        batch_rows: sequences per forward pass, by default `BATCH_ROWS`. precision: as in training
            ('fp32', 'bf16').
    Raises: ValueError for settings out of range, a motif that is longer than a background (both
        named), or a model that gives another shape or what is not finite.
    """
    matrices = motif_matrices(motifs)
    codes_SL, lengths_S = _as_codes(backgrounds)
    device = next(model.parameters()).device
    if batch_rows is None:
        batch_rows = BATCH_ROWS["cuda" if device.type == "cuda" else "other"]
    _check(matrices, lengths_S, copies, replicates, strands, rule, batch_rows)
    codes_SL, lengths_S = codes_SL.to(device), lengths_S.to(device)
    draws = InsertionDraws(matrices, seed, copies, strands == "both", rule == "reference", device)
    used, _ = choose_precision(precision, device)
    with ExitStack() as stack:
        stack.enter_context(_borrow(model, rule == "reference", seed, device))
        stack.enter_context(matmul_precision(used))
        stack.enter_context(autocast(device, used))
        extra = {} if task is None else {"task": task}

        def predict(rows_NL: torch.Tensor) -> torch.Tensor:
            found = model(rows_NL, **extra)
            values = found if torch.is_tensor(found) else found.logits
            return _checked(values, len(rows_NL)).float()

        baseline_SC = torch.cat([predict(rows) for rows in codes_SL.split(batch_rows)])
        effects = _run(
            predict, codes_SL, lengths_S, draws, baseline_SC, replicates, rule, batch_rows, progress
        )
    n_motifs, n_outputs = len(matrices), baseline_SC.shape[1]
    settings = {
        "copies": copies,
        "replicates": replicates,
        "seed": seed,
        "strands": strands,
        "rule": rule,
        "precision": used,
    }
    return MotifEffects(
        tuple(matrices),
        _name_outputs(model, task, outputs, n_outputs),
        effects.view(n_motifs, len(codes_SL), n_outputs).cpu().numpy(),
        baseline_SC.cpu().numpy(),
        settings,
    )


def inserted_sequences(
    backgrounds: Sequence[str | np.ndarray] | torch.Tensor,
    motifs: Motifs,
    name: str,
    *,
    replicate: int = 0,
    copies: int = COPIES,
    seed: int = 0,
    strands: str = "forward",
    rule: str = "corrected",
) -> torch.Tensor:
    """uint8 [S, L]: the very sequences that `motif_effects` predicts for one motif and replicate.

    They are not kept there, since they can be made again. Arguments and errors as there; ValueError
    for a name that is none of the motifs.
    """
    matrices = motif_matrices(motifs)
    if name not in matrices:
        raise ValueError(f"no motif {name!r}, expected one of: {', '.join(matrices)}")
    codes_SL, lengths_S = _as_codes(backgrounds)
    one = {name: matrices[name]}
    _check(one, lengths_S, copies, 1, strands, rule, 1)
    draws = InsertionDraws(
        one, seed, copies, strands == "both", rule == "reference", codes_SL.device
    )
    row_S = torch.arange(len(codes_SL), device=codes_SL.device)
    zeros_S = torch.zeros_like(row_S)
    return draws.insert(codes_SL, lengths_S, zeros_S, row_S, zeros_S + replicate, replicate + 1)


def _as_codes(
    backgrounds: Sequence[str | np.ndarray] | torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [S, L] and lengths [S]."""
    codes_SL = backgrounds if torch.is_tensor(backgrounds) else stack_codes(backgrounds)
    lengths_S = find_lengths(codes_SL)
    if lengths_S is None:
        lengths_S = torch.full((len(codes_SL),), codes_SL.shape[1], device=codes_SL.device)
    return codes_SL, lengths_S


def _run(
    predict,
    codes_SL: torch.Tensor,
    lengths_S: torch.Tensor,
    draws: "InsertionDraws",
    baseline_SC: torch.Tensor,
    replicates: int,
    rule: str,
    batch_rows: int,
    progress: bool,
) -> torch.Tensor:
    """float32 [M x S, C]: mean change, pair after pair of motif and background."""
    from tqdm.auto import tqdm

    n_backgrounds = len(codes_SL)
    n_pairs = len(draws.widths) * n_backgrounds
    anew = rule == "reference"  # one more row of each pair, without the motif
    per_pair = replicates + anew
    # drawing a few rows costs as much as drawing many, also where a small batch predicts fastest
    step = max(1, max(batch_rows, DRAW_ROWS) // per_pair)
    effects = baseline_SC.new_empty((n_pairs, baseline_SC.shape[1]))
    bar = tqdm(total=n_pairs, unit="effect", disable=not progress, desc="insertion")
    for begin in range(0, n_pairs, step):
        pair_P = torch.arange(begin, min(begin + step, n_pairs), device=codes_SL.device)
        pair_N = pair_P.repeat_interleave(per_pair)
        motif_N, row_N = pair_N // n_backgrounds, pair_N % n_backgrounds
        replicate_N = torch.arange(per_pair, device=codes_SL.device).repeat(len(pair_P))
        inserted_NL = draws.insert(
            codes_SL[row_N], lengths_S[row_N], motif_N, row_N, replicate_N, replicates
        )
        values_NC = torch.cat([predict(rows) for rows in inserted_NL.split(batch_rows)])
        values_PRC = values_NC.unflatten(0, (len(pair_P), per_pair))
        own_PC = values_PRC[:, -1] if anew else baseline_SC[row_N[::per_pair]]
        effects[begin : begin + len(pair_P)] = values_PRC[:, :replicates].mean(1) - own_PC
        bar.update(len(pair_P))
    bar.close()
    return effects


@contextmanager
def _borrow(model: nn.Module, dropout_on: bool, seed: int, device: torch.device) -> Iterator[None]:
    """Inside: evaluation mode (or training, but no norm learns), no gradients; then as before."""
    modes = {module: module.training for module in model.modules()}
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            model.train(dropout_on)
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _checked(values: torch.Tensor, n_rows: int) -> torch.Tensor:
    if values.ndim != 2 or len(values) != n_rows or not bool(values.isfinite().all()):
        raise ValueError(
            f"the model gave {list(values.shape)} for {n_rows} sequences, expected finite numbers "
            "[sequences, outputs]"
        )
    return values


def _name_outputs(
    model: nn.Module, task: str | None, outputs: Sequence[str] | None, n: int
) -> tuple[str, ...]:
    if outputs is None:
        own = getattr(model, "outputs", None)
        outputs = own(task) if callable(own) else [str(i) for i in range(n)]
    if len(outputs) != n:
        raise ValueError(f"{len(outputs)} names for {n} outputs, expected one per output")
    return tuple(outputs)


def _check(
    matrices: Mapping[str, np.ndarray],
    lengths_S: torch.Tensor,
    copies: int,
    replicates: int,
    strands: str,
    rule: str,
    batch_rows: int,
) -> None:
    for name, value, known in (("strands", strands, STRANDS), ("rule", rule, RULES)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected {' or '.join(known)}")
    numbers = {"copies": copies, "replicates": replicates, "batch_rows": batch_rows}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    shortest = int(lengths_S.argmin())
    room = int(lengths_S[shortest]) - (rule == "reference")
    for name, matrix_W4 in matrices.items():
        if len(matrix_W4) > room:
            raise ValueError(
                f"motif {name!r} has {len(matrix_W4)} positions, background {shortest} (0-based) "
                f"only {int(lengths_S[shortest])} bases; leave one of them out"
            )
