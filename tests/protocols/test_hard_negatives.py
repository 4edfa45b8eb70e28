"""Hard negatives against a loop that embeds one image and one report at a time."""

from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from hard_negative_answers import hard_negative_answers
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, SimCLR
from igcl_lightning.modules.contrastive import contrasts_reports
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.protocols.hard_negatives import (
    HardNegatives,
    images_of_next_patient,
    paired_data,
)
from stores import prepare_studies


class Units(NamedTuple):
    """Units of a side, and their mask."""

    feature: Tensor
    mask: Tensor | None


class Matching(IGCL):
    """Scores by the best match of each entity among two halves of the image's embedding; counts entities too."""

    score_names = ("global", "local", "many")

    def matched(self, side, encoded, embedding):
        if side == "image":
            return Units(embedding[:, None], None)
        return Units(torch.cat([embedding[:, None], encoded.units.repeat(1, 1, 4)[..., : embedding.shape[1]]], 1),
                     torch.cat([torch.ones(len(embedding), 1, dtype=torch.bool), encoded.mask], 1))  # fmt: skip

    def scorer(self, name):
        return {"global": self.score, "local": self.best, "many": self.many}[name]

    def score(self, first, second):
        return first.feature[:, 0] @ second.feature[:, 0].T

    def best(self, first, second):
        every = torch.einsum("qd,cld->qcl", first.feature[:, 0], second.feature)
        return every.masked_fill(~second.mask, -torch.inf).amax(dim=2)

    def many(self, first, second):
        """A score that never looks at the image."""
        return second.mask.sum(dim=1).float().expand(len(first.feature), -1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Hard negatives whose twins do not lie side by side: 90 studies, more than are scored together."""
    path = tmp_path_factory.mktemp("stores") / "hard"
    order = [*range(0, 90, 2), *range(1, 90, 2)]
    studies = [partial(phantom_study, index, size=64, views="frontal", variant="hard_negatives") for index in order]
    prepare_studies(studies, path, labels=FINDINGS, options=Options(size=64, lossless=True))
    return path


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    model = Matching(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 32}, projection={"channels": 64})
    return model.eval()


def one_by_one(module, store, name, image_of):
    """Return right and asked of each image, from batches of one pair."""
    with torch.no_grad():
        pairs = list(PairedDataModule(str(store), batch_size=1).predict_dataloader())
        sides = []
        for pair in pairs:
            encoded = {side: module.encode(side, module.side_input(side, pair)) for side in module.sides}
            sides.append(
                {side: module.matched(side, each, module.project(side, each)) for side, each in encoded.items()}
            )
        score = module.scorer(name)
        right, asked = [0] * len(pairs), [0] * len(pairs)
        for index, pair in enumerate(pairs):
            image = sides[image_of[index]]["image"]
            for other, candidate in enumerate(pairs):
                if candidate.patient == pair.patient and candidate.graph_key != pair.graph_key:
                    asked[index] += 1
                    right[index] += bool(score(image, sides[index]["graph"]) > score(image, sides[other]["graph"]))
    return right, asked, [int(pair.patient) for pair in pairs]


@pytest.mark.parametrize("name", ["global", "local"])
def test_answers_equal_a_loop_over_pairs(module, store, name):
    answers = hard_negative_answers(module, store)
    assert list(answers) == ["global", "local", "many"]
    pairs = 45
    for kind, image_of in {
        "own": [*range(90)],
        "blind": [(index + 1) % pairs + pairs * (index >= pairs) for index in range(90)],  # twins lie 45 rows apart
    }.items():
        right, asked, patient = one_by_one(module, store, name, image_of)
        found = getattr(answers[name], kind)
        assert found.asked.tolist() == asked
        assert 80 < sum(asked) <= 90  # the parser reads some twins as equal
        assert found.right.tolist() == right
        assert 0 < sum(right) < sum(asked)
        assert found.patient.tolist() == patient


def test_the_blind_control_shows_a_score_that_does_not_look(module, store):
    """What is told from the report alone is told as well with another image; equal counts of entities are ties."""
    answers = hard_negative_answers(module, store)
    assert answers["many"].blind.right.tolist() == answers["many"].own.right.tolist()
    assert answers["global"].blind.right.tolist() != answers["global"].own.right.tolist()


def test_a_module_without_named_scores_has_a_global_one(store):
    torch.manual_seed(0)
    plain = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 32}, projection={"channels": 64})
    names = list(hard_negative_answers(plain, store))
    assert names == list(getattr(plain, "score_names", ("global",)))
    assert contrasts_reports(plain)
    assert not contrasts_reports(SimCLR(image={"backbone": "test_resnet", "size": 32}))


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ([5, 5, 3, 3, 9, 9], [2, 3, 4, 5, 0, 1]),
        ([5, 3, 9, 5, 3, 9], [1, 2, 0, 4, 5, 3]),
        ([5, 3, 3, 3], [1, 0, 0, 0]),
        ([5, 5, 5, 3, 3], [3, 4, 3, 0, 1]),
    ],
)
def test_the_image_of_the_next_patient(patient, expected):
    assert images_of_next_patient(torch.tensor(patient)).tolist() == expected


def test_one_patient_has_no_blind_control(tmp_path):
    studies = [partial(phantom_study, index, size=64, views="frontal", variant="hard_negatives") for index in (0, 1)]
    prepare_studies(studies, tmp_path / "one", labels=FINDINGS, options=Options(size=64, lossless=True))
    few = "0 patients of test|1 patients of test"
    with pytest.raises(IgclError, match=f"one: ({few}) have reports .* the protocol hard_negatives needs two at least"):
        HardNegatives().check(Store(tmp_path / "one"), [])


def test_inputs_are_made_as_those_of_training(module, store, monkeypatch):
    record = {"tokenizer": {"model": None, "max_tokens": 12}, "node_text": {"model": "some"}}
    monkeypatch.setattr(module, "input_record", record, raising=False)
    data = paired_data(module, store, 4)
    assert (data.tokenizer.max_tokens, data.node_text) == (12, True)
    monkeypatch.setattr(module, "input_record", None)
    data = paired_data(module, store, 4)
    assert (data.tokenizer.max_tokens, data.node_text) == (256, False)
