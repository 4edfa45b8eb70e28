import pytest

from igcl_lightning.data.study import VIEWS
from igcl_lightning.data.views import _VIEW_OF, view_name


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
