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
    "parse_sp_tokens": Verb("tokens", "how long the tokens of a vocabulary are"),
    # embeddings, models and reports
}
