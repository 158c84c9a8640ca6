"""How tokenizers cut promoters: tokens per promoter, ids never used, and what truncation loses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.tokenizers.byte_bpe import N_SPECIAL, encode_texts, token_strings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_UNCUT = 10**9


def describe_promoter_tokens(
    tokenizers: Mapping[str, "PreTrainedTokenizerFast"], sequences: Sequence[str]
) -> pd.DataFrame:
    """One row per tokenizer: vocabulary, ids used, tokens per promoter, promoters that lose bases.

    `tokens_min`, `_mean`, `_max`: without special tokens, uncut. `unused_ids`: ids that are no
    special token and do not occur in these sequences (251 of FloraBERT's cannot occur in DNA).
    `cut_share`: promoters longer than the tokenizer's row; `tss_lost_share`: those of them whose
    bases at the TSS are lost, because it cuts on the right (defects B25 and B26).

    tokenizers: name -> of `byte_bpe` or `nmer`. sequences: promoters that end at their TSS.
    Raises: ValueError without any sequence.
    """
    if not sequences:
        raise ValueError("there is no sequence, expected at least one promoter")
    n_bases = sum(map(len, sequences))
    rows = []
    for name, tokenizer in tokenizers.items():
        encoded = encode_texts(tokenizer, sequences, _UNCUT)
        n_ids = np.array([len(row) for row in encoded])
        used = np.unique(np.concatenate(encoded))
        used = used[used >= N_SPECIAL]
        cut = float((n_ids > tokenizer.model_max_length).mean())
        rows.append(
            {
                "tokenizer": name,
                "vocabulary": len(tokenizer),
                "tokens_used": len(used),
                "unused_ids": len(tokenizer) - N_SPECIAL - len(used),
                "tokens_min": int(n_ids.min()) - 2,
                "tokens_mean": float(n_ids.mean()) - 2,
                "tokens_max": int(n_ids.max()) - 2,
                "bases_per_token": n_bases / max(1, int(n_ids.sum()) - 2 * len(n_ids)),
                "longest_token_bases": max(map(len, token_strings(tokenizer))),
                "cut_share": cut,
                "tss_lost_share": cut if tokenizer.truncation_side == "right" else 0.0,
            }
        )
    return pd.DataFrame(rows)


def say_promoter_tokens(table: pd.DataFrame) -> str:
    """A sentence on the last tokenizer of `describe_promoter_tokens`, and on what is cut."""
    row = table.iloc[-1]
    lost = table.loc[table["tss_lost_share"] > 0]
    text = (
        f"{row['tokenizer']} cuts a promoter into {row['tokens_mean']:.0f} tokens "
        f"({row['tokens_min']:.0f} to {row['tokens_max']:.0f}), {row['bases_per_token']:.1f} bases "
        f"each, and leaves {row['unused_ids']:.0f} of its ids unused."
    )
    for name, share in zip(lost["tokenizer"], lost["tss_lost_share"], strict=True):
        text += f" {name} loses the TSS of {100 * share:.0f} % of the promoters."
    return text
