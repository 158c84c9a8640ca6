"""Contrastive learning of embeddings for `training.loop.fit`: encoder, projection, loss.

Every process encodes its own pairs; their projections are exchanged, so that each pair is told
apart from all pairs of all processes. Large batches are encoded in chunks whose activations are
computed again for the gradients: memory holds one chunk, the gradient is that of the whole batch.
Letters: B pairs of all processes, R pairs of this one, C pairs of a chunk, V strands of a window,
L tokens, D width.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from genomelm_utils.models.alibi_bert import AlibiBertModel, Mixing, mean_embedding
from genomelm_utils.training.losses import imix, simclr, weighted_simclr

OBJECTIVES = ("weighted_simclr", "simclr", "mix")
SOFT_LABELS = ("corrected", "reference")
HEAD_DIM = 128  # Source: released training code, `feat_dim`
TEMPERATURE = 0.05  # Source: released training code
NO_SPECIES = -1  # a species that nobody knows

_CON_WEIGHTS = "con_weights"


def build_head(width: int, head_dim: int = HEAD_DIM, seed: int = 0) -> nn.Module:
    """The projection that only training uses: linear, ReLU, linear, no biases.

    Its weights are `0.weight` [width, width] and `2.weight` [head_dim, width], as published. With
    head_dim 0 there is none: the embeddings themselves are compared.
    """
    if not head_dim:
        return nn.Identity()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, head_dim, bias=False)
        )


def read_con_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The projection's weights beside a checkpoint: ours, or the released `con_weights.ckpt`.

    Raises: FileNotFoundError without either file.
    """
    folder = Path(folder)
    ours, released = folder / f"{_CON_WEIGHTS}.safetensors", folder / f"{_CON_WEIGHTS}.ckpt"
    if ours.is_file():
        from safetensors.torch import load_file

        return load_file(ours)
    if released.is_file():
        return torch.load(released, map_location="cpu", weights_only=True)
    raise FileNotFoundError(
        f"{folder} has neither {ours.name} nor {released.name}; published models come without "
        "their projection: start with a new one"
    )


class ContrastiveTask(nn.Module):
    """Mean contrastive loss of pairs, summed over this process's pairs.

    `objective` may be changed between trainings. The pooler's gradient is switched off: no loss
    reaches it, and it is no embedding.

    Args:
        model: the encoder that is trained and saved.
        objective: `weighted_simclr`, `simclr`, or `mix` (first views mixed inside the encoder).
        temperature: of the similarities.
        chunk_pairs: pairs encoded at a time; 0: all at once, nothing is computed twice. Mixing
            happens inside chunks.
        head_dim, seed: size and initial weights of the projection; 0: none (`build_head`).
        soft_labels: "reference" repeats the released loss of mixtures (`losses.imix`).
        same_species_negatives: True repeats the released training, in which another pair of the
            same species is a negative; False leaves such pairs out.
    Raises: ValueError for a word that is none of the choices.
    """

    def __init__(
        self,
        model: AlibiBertModel,
        *,
        objective: str = "weighted_simclr",
        temperature: float = TEMPERATURE,
        chunk_pairs: int = 0,
        head_dim: int = HEAD_DIM,
        seed: int = 0,
        soft_labels: str = "corrected",
        same_species_negatives: bool = False,
    ) -> None:
        super().__init__()
        _check_choice("objective", objective, OBJECTIVES)
        _check_choice("soft_labels", soft_labels, SOFT_LABELS)
        self.model = model
        self.head = build_head(model.config.hidden_size, head_dim, seed)
        self.objective, self.temperature, self.chunk_pairs = objective, temperature, chunk_pairs
        self.soft_labels, self.same_species_negatives = soft_labels, same_species_negatives
        if getattr(model, "pooler", None) is not None:
            model.pooler.requires_grad_(False)

    def forward(
        self,
        first_ids: torch.Tensor,
        first_mask: torch.Tensor,
        second_ids: torch.Tensor,
        second_mask: torch.Tensor,
        species: torch.Tensor,
        mix_partner: torch.Tensor | None = None,
        mix_label: torch.Tensor | None = None,
        mix_weight: torch.Tensor | None = None,
        mix_layer: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """(loss times the pairs of this process, these pairs); the arguments are `PairBatches`'.

        first_ids, second_ids: int64[R, V, L], each with its own L; masks bool[R, V, L]. A window's
        embedding is the mean over its V strands. species: int64[R]. mix_partner: int64[R], counted
        within the chunk; mix_label: int64[R], counted in the whole batch; mix_weight: float[R];
        mix_layer: int64[R], one number per chunk.
        """
        views = (first_ids, first_mask, second_ids, second_mask)
        mixed = self.objective == "mix"
        if mixed and mix_partner is None:
            raise ValueError("objective 'mix' needs batches with mix_partner: pass n_layers")
        mixing = (mix_partner, mix_weight, mix_layer) if mixed else None
        first_RD, second_RD = self._project_views(views, mixing)
        n_pairs, (rank, _) = len(first_ids), _processes()
        rows = slice(rank * n_pairs, (rank + 1) * n_pairs)
        same_BB = None if self.same_species_negatives else same_species(gather_rows(species))
        common = {"same_BB": same_BB, "rows": rows}
        if mixed:
            loss = imix(
                first_RD,
                gather_rows(second_RD),
                mix_label,
                mix_weight,
                self.temperature,
                reference=self.soft_labels == "reference",
                **common,
            )
        else:
            both_B2D = gather_rows(torch.stack([first_RD, second_RD], 1))
            function = simclr if self.objective == "simclr" else weighted_simclr
            loss = function(both_B2D[:, 0], both_B2D[:, 1], self.temperature, **common)
        return loss * n_pairs, n_pairs

    def project(self, embedding_RD: torch.Tensor) -> torch.Tensor:
        """Unit vectors float32[R, head_dim or D] of embeddings, in which pairs are compared."""
        return F.normalize(self.head(embedding_RD).float(), dim=1)

    def _project_views(
        self, views: tuple[torch.Tensor, ...], mixing: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Projections of both views, chunk by chunk."""
        chunks = list(_chunks(len(views[0]), self.chunk_pairs))
        parts = []
        for rows in chunks:
            chunk = tuple(tensor[rows] for tensor in views)
            mix = None if mixing is None else _mixing_of(*(tensor[rows] for tensor in mixing))
            if len(chunks) > 1 and torch.is_grad_enabled():
                # dropout is drawn anew from the same random state. Source: Chen et al. 2016
                # (arXiv:1604.06174); for contrastive losses Gao et al. 2021 (arXiv:2101.06983)
                parts.append(checkpoint(self._project_chunk, chunk, mix, use_reentrant=False))
            else:
                parts.append(self._project_chunk(chunk, mix))
        first, second = zip(*parts, strict=True)
        return torch.cat(first), torch.cat(second)

    def _project_chunk(
        self, views: tuple[torch.Tensor, ...], mixing: Mixing | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        first_ids, first_mask, second_ids, second_mask = views
        first = embed_strands(self.model, first_ids, first_mask, mixing)
        second = embed_strands(self.model, second_ids, second_mask)
        return self.project(first), self.project(second)

    def save_beside(self, folder: Path) -> None:
        """Write the projection, if any, in the published layout; `fit` does with checkpoints."""
        from safetensors.torch import save_file

        weights = {name: w.detach().cpu() for name, w in self.head.state_dict().items()}
        if weights:
            save_file(weights, Path(folder) / f"{_CON_WEIGHTS}.safetensors")


def embed_strands(
    model: AlibiBertModel,
    ids_CVL: torch.Tensor,
    mask_CVL: torch.Tensor,
    mixing: Mixing | None = None,
) -> torch.Tensor:
    """Mean over the strands of the mean states: float32[C, D].

    mixing: of the C windows; each strand is mixed with the same strand of the partner.
    """
    n_strands = ids_CVL.shape[1]
    if mixing is not None:
        strand_V = torch.arange(n_strands, device=mixing.partner_B.device)
        partner = (mixing.partner_B[:, None] * n_strands + strand_V).flatten()
        weight = mixing.weight_B.repeat_interleave(n_strands)
        mixing = Mixing(layer=mixing.layer, partner_B=partner, weight_B=weight)
    encoded = model.encode(ids_CVL.flatten(0, 1), mask_CVL.flatten(0, 1), mixing)
    return mean_embedding(*encoded).unflatten(0, (-1, n_strands)).mean(1)


def same_species(species_B: torch.Tensor) -> torch.Tensor:
    """bool[B, B]: rows of one species, as far as it is known."""
    return (species_B[:, None] == species_B) & (species_B != NO_SPECIES)


def _mixing_of(partner: torch.Tensor, weight: torch.Tensor, layer: torch.Tensor) -> Mixing:
    return Mixing(layer=int(layer[0]), partner_B=partner, weight_B=weight)


def _chunks(n_rows: int, size: int) -> Iterator[slice]:
    size = size or n_rows
    return (slice(start, start + size) for start in range(0, n_rows, size))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}, expected one of: {', '.join(choices)}")


# ---- several processes


def _processes() -> tuple[int, int]:
    """(rank, number of processes) of this training."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in the order of the processes; gradients find their way back.

    All processes must call it, with equally many rows.
    """
    if _processes()[1] == 1:
        return rows
    return _GatherRows.apply(rows) if rows.requires_grad else _all_gather(rows)


def _all_gather(rows: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(rows) for _ in range(_processes()[1])]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _GatherRows(torch.autograd.Function):
    """All processes' rows; backward adds up what every process's loss says of the own rows."""

    @staticmethod
    def forward(ctx, rows: torch.Tensor) -> torch.Tensor:
        ctx.n_rows = len(rows)
        return _all_gather(rows)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        start = _processes()[0] * ctx.n_rows
        return gradient[start : start + ctx.n_rows]
