"""Trained classifiers of stage 06 (genomicBERT) as `Explained`: unigram tokens, any pooling.

Shapes: B rows of a batch, L ids of a padded row, C classes.
"""

from typing import TYPE_CHECKING

import torch

from genomelm_utils.interpretation.explained_tokens import TokenClassifier
from genomelm_utils.models.sequence_classifier import classify_tokens
from genomelm_utils.tasks.sequence_models import SequenceModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class SequenceClassifier(TokenClassifier):
    """A `SequenceModel` and the tokenizer its rows were made with (`tokenizers.unigram`).

    specials: see `TokenClassifier`; 'as_trained' puts `<cls>` and `<sep>` around a row only where
    the network was trained with them (pooling 'cls').
    Raises: ValueError for a row of more tokens than the network reads at once.
    """

    def __init__(
        self,
        trained: SequenceModel,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        specials: str = "as_trained",
    ) -> None:
        super().__init__(trained.model, tokenizer, trained.class_names, specials=specials)
        layout = trained.layout
        self.pooling, self.pad_id, self.limit = trained.pooling, layout.pad_id, layout.max_ids
        if layout.before is not None and specials == "as_trained":
            self.around = (layout.before, layout.behind)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        return classify_tokens(self.module, ids_BL, mask_BL, self.pooling)
