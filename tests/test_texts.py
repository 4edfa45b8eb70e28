import pytest

from igcl_lightning.cli.parser import names
from igcl_lightning.cli.prepare import pairs
from igcl_lightning.texts import is_blank, is_shortened, plain_id


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "N/A", "null", "NULL", "None", "nan", "NaN", "#N/A", "<NA>"])
def test_words_for_no_value_are_blank_and_no_id(word):
    assert is_blank(word)
    assert plain_id(word) is None


@pytest.mark.parametrize("word", ["-", "?", "--"])
def test_marks_are_no_id_but_may_be_a_value(word):
    assert not is_blank(word)
    assert plain_id(word) is None


@pytest.mark.parametrize(
    ("read", "plain"),
    [
        ("12", "12"),
        ("12.0", "12"),
        (" 12.00 ", "12"),
        ("12,0", "12"),
        ("0012.0", "0012"),
        ('="0012"', "0012"),
        ("100000000000.0", "1" + "0" * 11),
    ],
)
def test_a_number_read_as_a_float_is_one_id(read, plain):
    assert plain_id(read) == plain


@pytest.mark.parametrize("name", ["12.5", "1.2.840.0", "p12.0", "12.", "v1.0", "007", "1e5", "Nan Li", "12.10"])
def test_other_ids_stay_as_they_are(name):
    assert plain_id(name) == name


@pytest.mark.parametrize(("name", "lost"), [("1.23457E+11", True), ("1e+16", True), ("1E5", False), ("12.0", False)])
def test_ids_that_lost_their_digits_are_recognised(name, lost):
    assert is_shortened(name) is lost


def test_a_name_with_a_comma_stands_in_quotes():
    assert names('Edema, "Effusion, left",Mass,') == ("Edema", "Effusion, left", "Mass")
    assert pairs('"Effusion, left=Effusion",Edema=Oedema') == {"Effusion, left": "Effusion", "Edema": "Oedema"}
