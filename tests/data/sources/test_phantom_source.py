import pickle

import numpy as np
import pytest

from igcl_lightning.data.sources.phantom import phantom_source, phantom_study
from igcl_lightning.errors import IgclError
from igcl_lightning.phantom import LABELS


def test_the_source_makes_the_studies_of_the_generator_where_they_are_needed():
    drawing = {"size": 64, "seed": 4, "views": "frontal", "shortcut": "Edema"}
    source = phantom_source(3, **drawing)
    studies = [pickle.loads(pickle.dumps(item))() for item in source.items()]
    for index, study in enumerate(studies):
        same = phantom_study(index, **drawing)
        assert (study.study_id, study.report, study.labels) == (same.study_id, same.report, same.labels)
        assert study.extra == same.extra
        assert np.array_equal(study.images[0].source, same.images[0].source)


def test_the_source_says_how_its_studies_were_drawn():
    source = phantom_source(5, size=64, seed=2, masks=True)
    assert (source.name, source.labels, source.extra, source.masks, source.total) == ("phantom", LABELS, (), True, 5)
    assert source.settings["seed"] == 2
    assert phantom_source(1, size=64, shortcut="Edema").extra == ("shortcut",)
    assert not phantom_source(1, size=64).masks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "--count is 0, not at least 1"),
        ({"size": 32}, "phantom size 32: expected 64 to 512 pixels"),
        ({"seed": -1}, "phantom seed -1: expected 0 or more"),
        ({"shortcut": "Cough"}, "phantom shortcut 'Cough'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(arguments, message):
    with pytest.raises(IgclError, match=message):
        phantom_source(**{"count": 1, "size": 64} | arguments)
