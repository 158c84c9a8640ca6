"""Parameters: rGADEM's defaults under its names, ranges, and hints for misspelt ones."""

import pytest

from genomelm_utils.motifs.parameters import RGADEM_NAMES, Parameters, make_parameters

#: Source: rGADEM 2.55.0, usage line of its help page, without what `discover` passes itself.
RGADEM_DEFAULTS = {
    "numWordGroup": 3,
    "numTop3mer": 20,
    "numTop4mer": 40,
    "numTop5mer": 60,
    "numGeneration": 5,
    "populationSize": 100,
    "pValue": 2e-4,
    "eValue": 0,
    "extTrim": 1,
    "minSpaceWidth": 0,
    "maxSpaceWidth": 10,
    "numEM": 40,
    "fEM": 0.5,
    "widthWt": 80,
    "fullScan": 0,
    "slideWinPWM": 6,
    "stopCriterion": 1,
    "numBackgSets": 10,
    "weightType": 0,
    "bFileName": "NULL",
    "minSites": -1,
    "maskR": 0,
}


def test_defaults_are_those_of_rgadem():
    assert Parameters().as_rgadem() == RGADEM_DEFAULTS


def test_the_papers_call_in_rgadems_words():
    from genomelm_utils.motifs.rgadem import PAPER_PARAMETERS

    given = make_parameters(PAPER_PARAMETERS).as_rgadem()
    changed = {name: value for name, value in given.items() if RGADEM_DEFAULTS[name] != value}
    assert changed == {"stopCriterion": 5, "numEM": 80, "maxSpaceWidth": 0, "maskR": 1}


def test_coding_of_rgadem():
    given = Parameters(weight_type="triangular", full_scan=True, b_file_name="b.txt").as_rgadem()
    assert (given["weightType"], given["fullScan"], given["bFileName"]) == (2, 1, "b.txt")


def test_words_and_sites():
    assert Parameters(num_word_group=2).word_lengths == (3, 4)
    assert Parameters().fewest_sites(200) == 10
    assert Parameters().fewest_sites(5) == 2
    assert Parameters(min_sites=7).fewest_sites(200) == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p_value": 0}, "p_value is 0"),
        ({"f_em": 1.5}, "f_em 1.5, expected"),
        ({"min_space_width": 5, "max_space_width": 3}, "above max_space_width 3"),
        ({"max_space_width": 21}, "max_space_width is 21, expected 0 to 20"),
        ({"num_em": 0}, "num_em is 0, expected 1"),
        ({"weight_type": "flat"}, "weight_type is 'flat', expected one of uniform, gaussian"),
        ({"numEM": 80}, "no parameter 'numEM'; did you mean 'num_em'"),
        ({"num_emm": 80}, "no parameter 'num_emm'; did you mean 'num_em'"),
        ({"zzz": 1}, "no parameter 'zzz'; known are num_word_group"),
    ],
)
def test_wrong_parameters(given, message):
    with pytest.raises(ValueError, match=message):
        make_parameters(given)


def test_every_name_is_mapped():
    assert set(vars(Parameters())) == set(RGADEM_NAMES)
