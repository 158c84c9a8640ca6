"""What a search for motifs can be told: rGADEM's parameters, one set for both engines.

Names are rGADEM's in the house's spelling (`RGADEM_NAMES` maps them), defaults are its own.
Source: rGADEM 2.55.0, help page of GADEM; Li 2009, J. Comput. Biol. 16:317.
"""

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

MIN_MOTIF_BP = 6  # the shortest dyad: two words of three bases
WORD_BP = (3, 4, 5)
WEIGHT_TYPES = ("uniform", "gaussian", "triangular")  # rGADEM's weightType 0, 1, 2
#: Ours -> rGADEM's; `n_motifs` and `seed` are arguments of `discover`.
RGADEM_NAMES = {
    "num_word_group": "numWordGroup",
    "num_top_3mer": "numTop3mer",
    "num_top_4mer": "numTop4mer",
    "num_top_5mer": "numTop5mer",
    "num_generation": "numGeneration",
    "population_size": "populationSize",
    "p_value": "pValue",
    "e_value": "eValue",
    "ext_trim": "extTrim",
    "min_space_width": "minSpaceWidth",
    "max_space_width": "maxSpaceWidth",
    "num_em": "numEM",
    "f_em": "fEM",
    "width_wt": "widthWt",
    "weight_type": "weightType",
    "full_scan": "fullScan",
    "slide_win_pwm": "slideWinPWM",
    "stop_criterion": "stopCriterion",
    "num_backg_sets": "numBackgSets",
    "min_sites": "minSites",
    "mask_r": "maskR",
    "b_file_name": "bFileName",
}


@dataclass(frozen=True)
class Parameters:
    """Settings of a search.

    num_word_group: word lengths a dyad is made of, 1 to 3: 3, 3 and 4, or 3, 4 and 5 bases.
    num_top_3mer, num_top_4mer, num_top_5mer: over-represented words that dyads are made of.
    num_generation, population_size: of the genetic search.
    p_value: the largest chance of a site's score at one place. e_value: the largest ln(E) of a
    motif. ext_trim: whether ends are extended and trimmed. min_space_width, max_space_width: bases
    between the words of a dyad. num_em: the most EM steps. f_em: share of the sequences that dyads
    are tried on. weight_type, width_wt: weight of places in EM, `uniform`, or highest in the middle
    of a sequence over so many bases. full_scan: sites of different motifs may overlap.
    slide_win_pwm: positions over which two matrices of the same search count as one motif when
    they agree. stop_criterion: searches in a row without a motif that end it all.
    num_backg_sets: sets of background sequences in which sites are counted too. min_sites: the
    fewest sites of a motif, -1 for a twentieth of the sequences. mask_r: simple repeats are masked.
    b_file_name: a background file in MEME's Markov format; empty for one made from the sequences.

    Raises: ValueError for a value out of range.
    """

    num_word_group: int = 3
    num_top_3mer: int = 20
    num_top_4mer: int = 40
    num_top_5mer: int = 60
    num_generation: int = 5
    population_size: int = 100
    p_value: float = 2e-4
    e_value: float = 0.0
    ext_trim: bool = True
    min_space_width: int = 0
    max_space_width: int = 10
    num_em: int = 40
    f_em: float = 0.5
    width_wt: int = 80
    weight_type: str = "uniform"
    full_scan: bool = False
    slide_win_pwm: int = 6
    stop_criterion: int = 1
    num_backg_sets: int = 10
    min_sites: int = -1
    mask_r: bool = False
    b_file_name: str = ""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value!r}, expected {low:g} to {high:g}")
        if not 0 < self.p_value < 1 or not 0 < self.f_em <= 1:
            raise ValueError(
                f"p_value is {self.p_value!r} and f_em {self.f_em!r}, expected p_value in (0, 1) "
                "and f_em in (0, 1]"
            )
        if self.min_space_width > self.max_space_width:
            raise ValueError(
                f"min_space_width is {self.min_space_width}, above max_space_width "
                f"{self.max_space_width}"
            )
        if self.weight_type not in WEIGHT_TYPES:
            raise ValueError(
                f"weight_type is {self.weight_type!r}, expected one of {', '.join(WEIGHT_TYPES)}"
            )

    @property
    def word_lengths(self) -> tuple[int, ...]:
        """Lengths of the words of dyads."""
        return WORD_BP[: self.num_word_group]

    def fewest_sites(self, n_records: int) -> int:
        """Sites that a motif needs at least, 2 or more."""
        return max(2, n_records // 20 if self.min_sites < 0 else self.min_sites)

    def as_rgadem(self) -> dict[str, Any]:
        """The same settings under rGADEM's names and in its coding (0 and 1, a file "NULL")."""
        values = {RGADEM_NAMES[name]: value for name, value in asdict(self).items()}
        for name in ("extTrim", "fullScan", "maskR"):
            values[name] = int(values[name])
        values["weightType"] = WEIGHT_TYPES.index(self.weight_type)
        values["bFileName"] = self.b_file_name or "NULL"
        return values


_RANGES = [
    ("num_word_group", 1, 3),
    ("num_top_3mer", 1, 64),
    ("num_top_4mer", 1, 256),
    ("num_top_5mer", 1, 1024),
    ("num_generation", 1, 1000),
    ("population_size", 2, 10_000),
    ("min_space_width", 0, 20),
    ("max_space_width", 0, 20),
    ("num_em", 1, 10_000),
    ("width_wt", 1, 1_000_000),
    ("slide_win_pwm", 1, 40),
    ("stop_criterion", 1, 1000),
    ("num_backg_sets", 0, 1000),
    ("min_sites", -1, 10**9),
]


def make_parameters(given: dict[str, Any]) -> Parameters:
    """Parameters from keyword arguments; ValueError that names the nearest for an unknown one."""
    known = [field.name for field in fields(Parameters)]
    back = {theirs: ours for ours, theirs in RGADEM_NAMES.items()}
    for name in given:
        if name not in known:
            near = [back[name]] if name in back else get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise ValueError(f"a search for motifs has no parameter {name!r}{hint}")
    return Parameters(**given)
