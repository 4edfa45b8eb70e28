import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import (
    SCHEMA,
    Run,
    arranged,
    arranged_by_split,
    checked,
    write_predictions,
)


def predictions(**columns):
    """Two rows by two labels of one run; `columns` replaces whole columns."""
    frame = pd.DataFrame(
        {
            "method": "igcl",
            "fraction": 0.1,
            "shots": None,
            "row": ["r1", "r2", "r1", "r2"],
            "study": ["s1", "s2", "s1", "s2"],
            "patient": ["p1", "p2", "p1", "p2"],
            "split": "test",
            "label": ["Edema", "Edema", "Hernia", "Hernia"],
            "target": [1.0, 0.0, None, 0.0],
            "score": [0.9, 0.2, 0.1, -3.0],
            "seed": 0,
        }
    )
    return frame.assign(**columns)


def test_round_trip_keeps_values_types_and_nulls(tmp_path):
    path = tmp_path / "new" / "predictions.parquet"
    write_predictions(predictions()[::-1], path)
    frame = pd.read_parquet(path)
    pd.testing.assert_frame_equal(frame, checked(predictions()[::-1], "frame"))
    assert list(frame.columns) == SCHEMA.names
    assert pq.read_schema(path).equals(SCHEMA)
    assert frame["shots"].isna().all()
    assert frame["target"].isna().sum() == 1
    assert [file.name for file in path.parent.iterdir()] == ["predictions.parquet"]


def test_shots_may_come_as_floats_with_nan():
    shots = checked(predictions(shots=5.0, fraction=np.nan), "frame")["shots"]
    assert shots.tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"colour": "red"}, "unknown columns ['colour']"),
        ({"score": "high"}, "column 'score' is not double"),
        ({"row": [1, 2, 1, 2]}, "column 'row' is not string"),
        ({"shots": 2.5}, "column 'shots' is not int64"),
        ({"patient": ["p1", None, "p1", "p2"]}, "column 'patient' has 1 missing values"),
        ({"target": [1.0, 0.5, None, 0.0]}, "target is not 0, 1 or null (1 times, first: method igcl"),
        ({"score": [0.9, np.inf, 0.1, 0.2]}, "score is not finite (1 times, first: method igcl, seed 0, row r2"),
        ({"score": [0.9, np.nan, 0.1, 0.2]}, "column 'score' has 1 missing values"),
        ({"label": "Edema"}, "a run scores this row and label twice (2 times, first"),
    ],
)
def test_a_broken_frame_is_refused_in_one_line_and_not_written(tmp_path, columns, message):
    path = tmp_path / "predictions.parquet"
    with pytest.raises(IgclError) as error:
        write_predictions(predictions(**columns), path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_column_is_named():
    with pytest.raises(IgclError, match=r"frame: missing columns \['study'\]"):
        checked(predictions().drop(columns="study"), "frame")


def test_an_old_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "predictions.parquet"
    write_predictions(predictions(), path)
    before = path.read_bytes()

    def full_disk(table, where):
        where.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_predictions(predictions(score=0.5), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_arranged_finds_each_score_whatever_the_order_of_the_lines():
    both = pd.concat([predictions(), predictions(method="random", score=[4.0, 3.0, 2.0, 1.0])[::-1]])
    table = arranged(checked(both, "frame"))
    assert table.labels == ["Edema", "Hernia"]
    assert table.patients.tolist() == ["p1", "p2"]
    np.testing.assert_array_equal(table.target, [[1, 0], [np.nan, 0]])
    np.testing.assert_array_equal(table.scores[Run("igcl", 0.1, None, 0)], [[0.9, 0.2], [0.1, -3.0]])
    np.testing.assert_array_equal(table.scores[Run("random", 0.1, None, 0)], [[4.0, 3.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            predictions(method="random", target=[1.0, 1.0, None, 0.0]),
            "runs differ in the target of row r2, label Edema",
        ),
        (predictions(method="random", patient="p9"), "runs differ in the patient of row r1"),
        (predictions(method="random")[1:], "lacks 1 scores that other runs have (first: row r1, label Edema)"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other, message):
    with pytest.raises(IgclError) as error:
        arranged(checked(pd.concat([predictions(), other]), "frame"))
    assert message in str(error.value)


def test_a_missing_score_of_an_unknown_target_does_no_harm():
    arranged(checked(pd.concat([predictions(), predictions(method="random").drop(index=2)]), "frame"))


def test_runs_agree_within_a_split_and_may_leave_out_a_whole_one():
    valid = predictions(split="valid", row=["r3", "r4", "r3", "r4"])
    tables = arranged_by_split(checked(pd.concat([predictions(), valid, predictions(method="random")]), "frame"))
    assert {split: [run.method for run in table.scores] for split, table in tables.items()} == {
        "test": ["igcl", "random"],
        "valid": ["igcl"],
    }
    with pytest.raises(IgclError, match="lacks 1 scores that other runs have"):
        arranged_by_split(checked(pd.concat([predictions(), valid, valid.assign(method="random")[1:]]), "frame"))


def test_a_row_in_two_splits_is_refused():
    both = pd.concat([predictions(), predictions(method="random", split="valid")])
    with pytest.raises(IgclError, match="row r1 is in more than one split"):
        arranged_by_split(checked(both, "frame"))


def test_runs_hold_plain_numbers():
    frame = checked(predictions(shots=5, fraction=None), "frame")
    (run,) = arranged(frame).scores
    assert run == Run("igcl", None, 5, 0)
    assert [type(value) for value in run] == [str, type(None), int, int]
    (run,) = arranged(checked(predictions(), "frame")).scores
    assert [type(value) for value in run] == [str, float, type(None), int]
