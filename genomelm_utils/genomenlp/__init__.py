"""The command `python -m genomelm_utils.genomenlp`: genomeNLP's verbs, under their names."""

from typing import NamedTuple


class Verb(NamedTuple):
    """module: of this folder; it has `<verb>(given) -> lines to print` and `add_<verb>(parser)`.
    about: what it does, in half a line."""

    module: str
    about: str


#: Every verb. A module is imported when one of its verbs is asked for; what computes is imported
#: inside its functions (numpy, pandas and `command_outputs` too), so that `--help` is instant.
VERBS = {
    # sequences and tokens
    "tokenise_bio": Verb("tokens", "learned words of sequences: a unigram tokenizer"),
    "parse_sp_tokens": Verb("tokens", "how long the tokens of a vocabulary are"),
    "compare_empirical_tokens": Verb("tokens", "what vocabularies share; several made into one"),
    "remap_sp_tokens": Verb("tokens", "a data set with the token of every id beside it"),
    "kmerise_bio": Verb("data", "sequences as overlapping k-mers: a data set in one file"),
    "create_dataset_bio": Verb("data", "two classes of sequences: a data set to train and test on"),
    "create_dataset_nlp": Verb("data", "a table of labelled texts: the same"),
    "generate_synthetic": Verb("data", "synthetic negatives of sequences"),
    # embeddings, models and reports
}
