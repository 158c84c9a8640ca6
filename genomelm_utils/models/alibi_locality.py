"""How far a head with a linear bias can see, and attention that stops there.

A bias of -slope * distance outgrows whatever query and key can say to each other: beyond a reach
that follows from their norms nothing is left of a softmax in float32. The reach is measured on the
queries and keys at hand, in every layer, so it holds for any weights: large scores make it longer,
never wrong.

Shapes: G sequences of one length, S their length, H heads, E width of a head, C chunks of queries,
W keys that a chunk reaches; ... any.
"""

import math

import torch
from torch.nn import functional as F

#: What a softmax may lose: half the spacing of float32 at 1. A head's output then changes by less
#: than this share of its largest value: 1e-4 would take values of 1,600.
NEGLIGIBLE = 2.0**-24
#: Shorter sequences gain nothing: at 512 tokens half the speed, at 1,000 the same, at 2,124 1.5
#: times. Source: benchmarks/bench_locality.py, one thread of a CPU; GPUs are not measured.
LOCAL_FROM = 1024
CHUNK = 128  # queries of a chunk; also the fewest that fill the CPU's kernel
#: A band is taken up to this share of all scores: per score it costs up to 1.4 times the whole.
#: Source: bands of 32 to 1024 tokens to either side in 1,000 to 4,248, one thread of a CPU.
BAND_SHARE = 0.7


def measure_reach(q: torch.Tensor, k: torch.Tensor, slopes_H: torch.Tensor) -> torch.Tensor:
    """Tokens a head can see to either side, float32 [H]; infinite where scores are not finite.

    q, k: [..., H, E], queries and keys of one place at the same index; any number of sequences.
    All that a query gives to keys farther away is at most NEGLIGIBLE / 2 of what it gives in all.

    Why: let c be any vector (here the mean key), K the largest |k_j - c|. For a query q_i, softmax
    does not see c; the score of any key j is at most |q_i| K / sqrt(E) - slope |i - j|, that of its
    own key (q_i, k_i - c) / sqrt(E). With D the largest difference of the two without the bias,
    keys farther than R on both sides weigh, relative to the own key, at most the geometric series
    2 exp(D - slope (R + 1)) / (1 - exp(-slope)). An output without them differs by at most twice
    their share of the largest |value|. R makes twice the series NEGLIGIBLE.
    """
    with torch.no_grad():
        q, k = q.detach().float(), k.detach().float()
        centred = k - k.mean(dim=tuple(range(k.ndim - 2)), keepdim=True)
        norm_H = centred.norm(dim=-1).flatten(0, -2).amax(0)
        over = q.norm(dim=-1) * norm_H - (q * centred).sum(-1)
        over_H = over.flatten(0, -2).amax(0) / math.sqrt(q.shape[-1])
        tail_H = math.log(4 / NEGLIGIBLE) - torch.log(-torch.expm1(-slopes_H))
        reach_H = (over_H + tail_H) / slopes_H
        return torch.where(reach_H.isfinite(), reach_H, math.inf).clamp(min=0).ceil()


def bias_line(slopes_H: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """-slope * |x - (S - 1)|, float32 [H, 2 S - 1]: all that a bias consists of."""
    steps = torch.arange(2 * n_tokens - 1, device=slopes_H.device)
    return -slopes_H[:, None] * (steps - (n_tokens - 1)).abs()


def mirrored_bias(slopes_H: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """-slope * |i - j|, float32 [1, H, S, S], for keys in REVERSE order: column c is j = S - 1 - c.

    Then i - j = i + c - (S - 1): row i is row 0 moved by i, and all rows are one view of 2S - 1
    numbers per head. A bias in key order would need a negative stride, or S^2 numbers.
    """
    line_HX = bias_line(slopes_H, n_tokens)
    shape = (1, len(slopes_H), n_tokens, n_tokens)
    return line_HX.as_strided(shape, (0, line_HX.stride(0), 1, 1))


def attend_equal(qkv_GS3HE: torch.Tensor, slopes_H: torch.Tensor) -> torch.Tensor:
    """Attention of sequences of one length, [G, S, D]; on a CPU, heads with a short reach stop
    there, at a cost of S times the reach."""
    n_tokens = qkv_GS3HE.shape[1]
    if qkv_GS3HE.device.type != "cpu" or n_tokens < LOCAL_FROM:
        return attend_whole(qkv_GS3HE, slopes_H).flatten(2)
    reaches = measure_reach(*qkv_GS3HE.unbind(2)[:2], slopes_H).tolist()
    near = {h: int(r) for h, r in enumerate(reaches) if band_share(n_tokens, r) <= BAND_SHARE}
    if not near:
        return attend_whole(qkv_GS3HE, slopes_H).flatten(2)
    heads = {h: attend_band(qkv_GS3HE[..., h, :], slopes_H[h], r) for h, r in near.items()}
    far = [h for h in range(len(slopes_H)) if h not in near]
    if far:
        out_GSHE = attend_whole(qkv_GS3HE[..., far, :], slopes_H[far])
        heads |= dict(zip(far, out_GSHE.unbind(2), strict=True))
    return torch.cat([heads[h] for h in range(len(slopes_H))], dim=-1)


def attend_whole(qkv_GS3HE: torch.Tensor, slopes_H: torch.Tensor) -> torch.Tensor:
    """Attention of every token to all of its sequence, [G, S, H, E]."""
    q_GSHE, k_GSHE, v_GSHE = qkv_GS3HE.unbind(2)
    bias = mirrored_bias(slopes_H, q_GSHE.shape[1])
    if bias.device.type != "cpu":  # only the CPU's kernel takes a float32 bias as such a view
        q_GSHE, k_GSHE, v_GSHE = q_GSHE.float(), k_GSHE.float(), v_GSHE.float()
        bias = bias.contiguous()
    out_GHSE = F.scaled_dot_product_attention(
        q_GSHE.transpose(1, 2),
        k_GSHE.flip(1).transpose(1, 2),  # the order of keys is free; this one suits the bias
        v_GSHE.flip(1).transpose(1, 2),
        attn_mask=bias,
    )
    return out_GHSE.transpose(1, 2).to(qkv_GS3HE.dtype)


def place_bands(n_tokens: int, reach: int) -> list[tuple[int, int, int]]:
    """(first query, number of chunks, queries of a chunk) of the pieces of a band.

    A first piece whose keys begin at 0, chunks whose reach lies inside on both sides, a last piece.
    """
    edge = max(1, math.ceil(reach / CHUNK)) * CHUNK
    n_chunks = (n_tokens - reach - edge) // CHUNK
    if n_chunks < 1:
        return [(0, 1, n_tokens)]
    rest = edge + n_chunks * CHUNK
    return [(0, 1, edge), (edge, n_chunks, CHUNK), (rest, 1, n_tokens - rest)]


def band_share(n_tokens: int, reach: float) -> float:
    """Scores that a band computes, as a share of all."""
    if reach >= n_tokens:
        return 1.0
    scores = 0
    for begin, n_chunks, width in place_bands(n_tokens, int(reach)):
        keys = min(begin + width + int(reach), n_tokens) - max(begin - int(reach), 0)
        scores += n_chunks * width * keys
    return scores / n_tokens**2


def attend_band(qkv_GS3E: torch.Tensor, slope: torch.Tensor, reach: int) -> torch.Tensor:
    """Attention of one head over `reach` tokens (and the rest of the chunk) to either side:
    [G, S, E].

    One call of the fused kernel per piece; the chunks take the place of heads, and their keys are
    overlapping views.
    """
    q_GSE, k_GSE, v_GSE = qkv_GS3E.unbind(2)
    n_tokens = q_GSE.shape[1]
    mirrored = [part.flip(1) for part in (k_GSE, v_GSE)]
    line_HX = bias_line(slope[None], n_tokens)
    out = []
    for begin, n_chunks, width in place_bands(n_tokens, reach):
        end = begin + n_chunks * width
        first, last = max(begin - reach, 0), min(end + reach, n_tokens)
        n_keys = last - first - (n_chunks - 1) * width
        k_GCWE, v_GCWE = (
            part[:, n_tokens - last : n_tokens - first].unfold(1, n_keys, width).transpose(2, 3)
            for part in mirrored
        )
        # the chunk whose keys come first in the mirrored order is the last one
        q_GCWE = q_GSE[:, begin:end].unflatten(1, (n_chunks, width)).flip(1)
        start = end - width  # ... and its bias is that of all
        shape = (1, 1, width, n_keys)
        bias = line_HX.as_strided(shape, (0, 0, 1, 1), start - last + n_tokens)
        got_GCWE = F.scaled_dot_product_attention(q_GCWE, k_GCWE, v_GCWE, attn_mask=bias)
        out.append(got_GCWE.flip(1).flatten(1, 2))
    return torch.cat(out, dim=1)
