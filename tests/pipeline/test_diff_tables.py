import pandas as pd

from genomelm_utils.pipeline.diff_tables import compare_tables, find_keys


def scores(**changes) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "dataset": ["prom", "prom", "splice", "splice"],
            "shots": [10, 100, 10, 100],
            "n_test": [50, 50, 50, 50],
            "accuracy": [0.5, 0.75, 0.25, 0.5],
        }
    )
    return table.assign(**changes)


def test_equal_tables_differ_in_nothing():
    assert compare_tables(scores(), scores()) == []


def test_keys_are_the_fewest_columns_that_name_a_row():
    assert find_keys(scores(), scores()) == ["dataset", "shots"]
    assert find_keys(scores()[["accuracy"]], scores()[["accuracy"]]) == []


def test_largest_differences_are_found_and_placed():
    new = scores(accuracy=[0.5, 0.5, 0.5, 0.5])
    (line,) = compare_tables(scores(), new)
    assert line.startswith("accuracy: 2 of 4 differ; largest difference 0.25")
    assert "prom, 100" in line
    assert "largest relative 1 (0.25 -> 0.5 at splice, 10)" in line


def test_row_order_is_no_difference():
    assert compare_tables(scores(), scores().iloc[::-1].reset_index(drop=True)) == []


def test_removed_and_added_rows_and_columns_are_named():
    new = scores().iloc[:3].rename(columns={"n_test": "n_valid"})
    lines = compare_tables(scores(), new)
    assert "1 column removed: n_test" in lines
    assert "1 column added: n_valid" in lines
    assert "1 row removed by dataset, shots: splice, 100" in lines


def test_a_result_that_is_a_whole_number_is_compared_not_matched():
    old, new = scores(n_test=[1, 2, 3, 4]), scores(n_test=[1, 2, 3, 9])
    (line,) = compare_tables(old, new)
    assert line.startswith("n_test: 1 of 4 differ; largest difference 5")


def test_two_missing_values_are_equal_and_one_is_a_difference():
    holes = scores(accuracy=[None, 0.75, 0.25, 0.5])
    assert compare_tables(holes, holes) == []
    assert compare_tables(holes, scores()) == ["accuracy: 1 missing in one only, first at prom, 10"]


def test_tables_without_keys_are_compared_by_position():
    old, new = pd.DataFrame({"x": [0.5, 1.5, 2.5]}), pd.DataFrame({"x": [0.5, 1.0]})
    lines = compare_tables(old, new)
    assert lines[0].startswith("rows: 3 -> 2")
    assert "at row 2" in lines[1]


def test_text_that_is_no_key_is_compared():
    old = scores(verdict=["a", "a", "b", "b"])
    new = scores(verdict=["a", "a", "b", "c"])
    (line,) = compare_tables(old, new)
    assert line == "verdict: 1 of 4 differ, first 'b' -> 'c' at splice, 100"


def test_from_zero_the_relative_difference_is_infinite():
    old, new = pd.DataFrame({"x": [0.0, 1.5]}), pd.DataFrame({"x": [0.5, 1.5]})
    assert "largest relative inf" in compare_tables(old, new)[0]
