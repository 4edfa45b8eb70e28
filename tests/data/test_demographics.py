import pytest

from igcl_lightning.data.demographics import age_in_years, sex_name


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
    assert [sex_name(word) for word in ("F", "female", "M", "male", "O", "", None)] == [
        "F",
        "F",
        "M",
        "M",
        None,
        None,
        None,
    ]
