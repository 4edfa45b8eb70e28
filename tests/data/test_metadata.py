import pytest

from igcl_lightning.data.metadata import _VIEW_OF, age_in_years, sex_name, view_name
from igcl_lightning.data.study import VIEWS


@pytest.mark.parametrize(
    ("text", "years"),
    [("58", 58), (" 61.5 ", 61.5), ("058Y", 58), ("018M", 1.5), ("026W", 0.498), ("0d", 0), ("120", 120)],
)
def test_an_age_is_in_years_whatever_its_unit(text, years):
    assert age_in_years(text) == pytest.approx(years, abs=1e-3)


@pytest.mark.parametrize("text", [None, "", "Y", "unknown", "-3", "121", "414", "nan", "50Z", "1e2"])
def test_what_is_no_age_of_a_person_is_not_known(text):
    assert age_in_years(text) is None


def test_words_for_a_sex():
    assert [sex_name(word) for word in ("F", "female", "Mujer", "M", "male", "Missing", "O", "", None)] == [
        "F",
        "F",
        "F",
        "M",
        "M",
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("words", "view"),
    [
        (("PA", " pa ", "postero-anterior"), "PA"),
        (("AP", "AP Supine", "AP_horizontal", "antero-posterior", "anteroposterior"), "AP"),
        (
            ("AP semi erect", "AP semi-erect", "ap semierect", "AP Portable", "AP Erect", "AP upright", "AP  Sitting"),
            "AP",
        ),
        (("PA erect", "PA_ERECT", "pa upright"), "PA"),
        (("LATERAL", "LL", "RL", "L", "left lateral", "XTABLE LATERAL"), "lateral"),
        (("AP axial", "AP lateral", "erect", "portable"), "unknown"),
        (("COSTAL", "?", "", None, "left lateral decubitus", "nan"), "unknown"),
    ],
)
def test_words_of_all_data_sets_have_one_name(words, view):
    assert {view_name(word) for word in words} == {view}


def test_every_name_is_a_view_of_the_store():
    assert set(_VIEW_OF.values()) < set(VIEWS)
    assert all(word == word.strip().lower() for word in _VIEW_OF)
