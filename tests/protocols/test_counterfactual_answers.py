"""Reports told from their counterfactuals, against a loop that edits one graph at a time."""

from functools import partial

import numpy as np
import pytest
import torch

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.twins import TwinDraw
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, RECLF
from igcl_lightning.nn.scoring import cosine_similarity
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.phantom.case import find_case
from igcl_lightning.protocols.counterfactuals import Twins, _answers, counterfactual_answers
from stores import prepare_studies

TESTED = [index for index in range(400) if find_case(index).scene.patient.split == "test"]
SIZES = {"image": {"backbone": "test_resnet", "size": 32}, "projection": {"channels": 64}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "tested"
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in TESTED]
    prepare_studies(studies, path, labels=FINDINGS, options=Options(size=64, lossless=True))
    return path


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return IGCL(**SIZES, graph={"channels": 32}, matching={"weight": 1, "channels": 16}).eval()


def test_answers_equal_a_loop_over_rows(module, store):
    answers = counterfactual_answers(module, store, ["side", "assertion"], batch_size=16)
    assert list(answers) == ["side", "assertion"]
    for kind, scores in answers.items():
        rows = one_by_one(module, store, kind)
        assert list(scores) == ["global", "local", "both"]
        patients = list(dict.fromkeys(rows["patient"]))
        places = {patient: [at for at, each in enumerate(rows["patient"]) if each == patient] for patient in patients}
        for name, found in scores.items():
            score = module.scorer(name)
            assert found.own.patient.tolist() == rows["patient"]
            assert set(found.own.asked.tolist()) == {1}
            right = [score(*each[:2]) > score(each[0], each[2]) for each in rows["sides"]]
            assert found.own.right.tolist() == [int(each) for each in right]
            assert 0 < sum(right) < len(right)
            blind = []
            for at, patient in enumerate(rows["patient"]):
                following = places[patients[(patients.index(patient) + 1) % len(patients)]]
                image = rows["sides"][following[places[patient].index(at) % len(following)]][0]
                blind.append(int(score(image, rows["sides"][at][1]) > score(image, rows["sides"][at][2])))
            assert found.blind.right.tolist() == blind


@torch.no_grad()
def one_by_one(module, store, kind):
    """Return the patient, and image, report and counterfactual, of each row of the test split that has one."""
    data = PairedDataModule(str(store), batch_size=1)
    loader = data._shared_loader(data._pairs(Store(store), ["test"], ["graph"], TwinDraw([kind])))
    rows = {"patient": [], "sides": []}
    for pair in loader:
        if pair.twin.valid.all():
            inputs = (("image", pair.image), ("graph", pair.graph), ("graph", pair.twin.graph))
            encoded = [(side, module.encode(side, value)) for side, value in inputs]
            rows["sides"].append([module.matched(side, each, module.project(side, each)) for side, each in encoded])
            rows["patient"].append(int(pair.patient))
    return rows


class Blindfolded(IGCL):
    """Embeds all images alike."""

    def project(self, side, encoded):
        embedding = super().project(side, encoded)
        return embedding[:1].new_full((1, 64), 1 / 8).expand_as(embedding) if side == "image" else embedding


def test_a_model_that_does_not_look_tells_with_any_image(store):
    torch.manual_seed(0)
    module = Blindfolded(**SIZES, graph={"channels": 32}).eval()
    answers = counterfactual_answers(module, store, ["assertion"])["assertion"]["global"]
    assert answers.own.right.tolist() == answers.blind.right.tolist()
    assert len(np.unique(answers.own.right)) == 2


def test_words_are_edited_too(store):
    torch.manual_seed(0)
    words = RECLF(**SIZES, units="words", text={"channels": 32}, matching={"weight": 0}, srm={"steps": 0}).eval()
    own = counterfactual_answers(words, store, ["side"])["side"]["global"].own
    assert 0 < own.right.sum() < len(own.right)
    with pytest.raises(IgclError, match="place"):
        counterfactual_answers(words, store, ["place"])


def test_a_tie_counts_against_the_model():
    image, report, patient = torch.eye(4), torch.eye(4), torch.tensor([1, 1, 2, 2])
    found = _answers(Twins(image, report, report, patient), cosine_similarity)
    assert found.own.right.tolist() == found.blind.right.tolist() == [0, 0, 0, 0]
    assert _answers(Twins(image, report, -report, patient), cosine_similarity).own.right.tolist() == [1, 1, 1, 1]


def test_a_kind_without_counterfactuals_is_left_out(module, store, monkeypatch):
    monkeypatch.setattr("igcl_lightning.data.twins.edits", lambda graph, kind: ())
    assert counterfactual_answers(module, store, ["side"]) == {}
