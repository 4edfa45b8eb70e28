"""The phantom: same index, same study; labels, masks, report and graph all tell of one scene."""

from __future__ import annotations

import io
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from igcl_lightning.data.phantom import FINDINGS, phantom_study
from igcl_lightning.data.phantom.patient import draw_patient, locate_patient
from igcl_lightning.data.phantom.report import capitalize, join, prose, read_template
from igcl_lightning.data.phantom.scene import draw_scene, study_generators
from igcl_lightning.data.phantom.templates import (
    BYSTANDERS,
    CLEAR_LUNGS,
    DENIED,
    NORMAL_HEART,
    NORMAL_IMPRESSIONS,
    PHRASES,
    SENTENCES,
    SHARP_ANGLES,
)
from igcl_lightning.data.sources.phantom import read_phantom
from igcl_lightning.data.study import Study

WORDS = {
    "Atelectasis": {"atelectasis"},
    "Cardiomegaly": {"cardiomegaly", "enlarged", "enlargement"},
    "Consolidation": {"consolidation", "opacity"},
    "Edema": {"edema", "congestion"},
    "Pleural Effusion": {"effusion", "effusions", "fluid"},
    "Pneumothorax": {"pneumothorax"},
}
"""Observations that mean a finding, written out by hand."""


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return list(read_phantom(500, size=64))


def pixels(study: Study) -> np.ndarray:
    source = study.images[0].source
    assert isinstance(source, np.ndarray)
    return source


def scene_of(index: int, seed: int = 0):
    number, _ = locate_patient(index, seed)
    return draw_scene(draw_patient(number, seed), study_generators(index, seed)[0])


def observations(study: Study, label: str) -> set[str]:
    assert study.graph is not None
    return {entity.name for entity in study.graph.entities if entity.label == label}


def test_same_index_and_seed_give_the_same_study():
    first, again = phantom_study(11, seed=3), phantom_study(11, seed=3)
    assert np.array_equal(pixels(first), pixels(again))
    assert (first.report, first.graph, first.labels) == (again.report, again.graph, again.labels)
    assert first.images[0].masks.keys() == again.images[0].masks.keys()


@pytest.mark.parametrize("other", [{"index": 12, "seed": 3}, {"index": 11, "seed": 4}])
def test_another_index_or_seed_gives_another_image(other):
    assert not np.array_equal(pixels(phantom_study(11, seed=3)), pixels(phantom_study(**other)))


@pytest.mark.parametrize("index", range(6))
def test_size_changes_the_resolution_and_nothing_else(index):
    small, large = phantom_study(index, size=128), phantom_study(index, size=256)
    shrunk = pixels(large).reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), pixels(small).ravel())[0, 1] > 0.98
    assert (small.report, small.graph, small.labels) == (large.report, large.graph, large.labels)
    for name, mask in small.images[0].masks.items():
        shrunk_mask = large.images[0].masks[name].reshape(128, 2, 128, 2).mean(axis=(1, 3))
        assert abs(shrunk_mask - mask).mean() < 0.01, name


def test_labels_are_those_of_the_scene(studies):
    for index, study in enumerate(studies):
        present = {finding.name for finding in scene_of(index).findings}
        assert {name for name in FINDINGS if study.labels[name] == 1.0} == present
        assert study.labels["No Finding"] == float(not present)
        assert set(study.labels) == {*FINDINGS, "No Finding"}


def test_every_finding_is_common_and_none_is_the_rule(studies):
    for name in FINDINGS:
        assert 0.12 <= np.mean([study.labels[name] for study in studies]) <= 0.28, name
    assert 0.2 <= np.mean([study.labels["No Finding"] for study in studies]) <= 0.35


def test_patients_have_one_to_three_studies_and_one_split_age_and_sex(studies):
    facts, counts = defaultdict(set), Counter()
    for study in studies[:498]:
        facts[study.patient_id].add((study.split, study.age, study.sex))
        counts[study.patient_id] += 1
    assert all(len(fact) == 1 for fact in facts.values())
    assert set(counts.values()) == {1, 2, 3}
    splits = Counter(next(iter(fact))[0] for fact in facts.values())
    assert splits["train"] / len(facts) == pytest.approx(0.7, abs=0.02)
    assert splits["valid"] / len(facts) == pytest.approx(0.1, abs=0.02)


def test_ids_count_studies():
    first, second = read_phantom(2, start=12)
    assert (first.study_id, second.study_id) == ("phantom-000012", "phantom-000013")
    assert np.array_equal(pixels(first), pixels(phantom_study(12)))


def test_masks_are_boolean_and_as_large_as_the_image(studies):
    for study in studies[:60]:
        image = study.images[0]
        present = {name for name in FINDINGS if study.labels[name]}
        assert set(image.masks) == {"left_lung", "right_lung", "heart"} | present
        for name, mask in image.masks.items():
            assert mask.dtype == bool
            assert mask.shape == (64, 64)
            assert mask.any(), (study.study_id, name)


def test_the_patients_left_lung_is_on_the_right_of_the_image(studies):
    for study in studies[:60]:
        masks = study.images[0].masks
        left, right = (np.nonzero(masks[name])[1].mean() for name in ("left_lung", "right_lung"))
        assert left > right + 10


def test_heart_is_wider_than_half_the_chest_when_it_is_called_enlarged(studies):
    for index in range(40):
        masks = phantom_study(index, size=256).images[0].masks
        columns = {name: np.nonzero(mask.any(axis=0))[0] for name, mask in masks.items()}
        chest = columns["left_lung"].max() - columns["right_lung"].min() + 1
        ratio = (np.ptp(columns["heart"]) + 1) / chest
        assert (ratio > 0.51) == bool(studies[index].labels["Cardiomegaly"]), (index, ratio)


def test_findings_lie_on_their_side_and_effusions_at_the_base(studies):
    for index, study in enumerate(studies[:150]):
        masks = study.images[0].masks
        for finding in scene_of(index).findings:
            if finding.name in ("Cardiomegaly", "Edema"):
                continue
            columns = np.nonzero(masks[finding.name])[1]
            middle = (np.nonzero(masks["left_lung"])[1].min() + np.nonzero(masks["right_lung"])[1].max()) / 2
            if finding.side != "bilateral":
                on_the_left = np.mean(columns > middle)
                assert (on_the_left > 0.8) == (finding.side == "left"), (index, finding)
        if "Pleural Effusion" in masks:
            lung_rows = np.nonzero(masks["left_lung"] | masks["right_lung"])[0]
            assert np.nonzero(masks["Pleural Effusion"])[0].max() > np.quantile(lung_rows, 0.9)


def test_graph_says_every_finding_and_denies_only_absent_ones(studies):
    for study in studies:
        assert study.graph is not None
        if not study.graph.text:
            continue
        present, absent = observations(study, "OBS-DP"), observations(study, "OBS-DA")
        for name in FINDINGS:
            if study.labels[name]:
                assert present & WORDS[name], (study.study_id, name)
                assert not absent & WORDS[name], (study.study_id, name)
            else:
                assert not present & WORDS[name], (study.study_id, name)


def test_absent_findings_are_denied_in_some_reports_and_left_out_of_others(studies):
    for name in FINDINGS:
        silent = [study for study in studies if not study.labels[name] and study.graph and study.graph.text]
        denied = np.mean([bool(observations(study, "OBS-DA") & WORDS[name]) for study in silent])
        assert 0.2 < denied < 0.8, name


def test_sides_in_the_graph_are_those_of_the_scene(studies):
    for index, study in enumerate(studies):
        sides = {finding.side for finding in scene_of(index).findings}
        said = observations(study, "ANAT-DP") & {"left", "right"}
        assert said <= sides, study.study_id


def test_graph_words_are_those_of_the_prose(studies):
    for study in studies:
        assert study.graph is not None
        spoken = " ".join(text for text in (study.report["findings"], study.report["impression"]) if text)
        assert spoken.replace(".", " .").replace(",", " ,") == study.graph.text


def test_empty_reports_occur_and_have_an_empty_graph(studies):
    empty = [study for study in studies if not any(study.report.values())]
    assert 1 <= len(empty) <= 25
    assert all(study.graph is not None and study.graph.key() is None for study in empty)


def test_template_gives_exactly_the_graph_it_marks():
    sentence = capitalize(
        read_template("a [small:+>effusion] [right:A>pleural] [pleural:A] [effusion:+@pleural] is seen .")
    )
    graph = join([sentence, sentence])
    assert prose([sentence]) == "A small right pleural effusion is seen."
    assert [(entity.tokens, entity.label, entity.start) for entity in sentence.entities] == [
        ("small", "OBS-DP", 1),
        ("right", "ANAT-DP", 2),
        ("pleural", "ANAT-DP", 3),
        ("effusion", "OBS-DP", 4),
    ]
    assert [(r.head, r.type, r.tail) for r in sentence.relations] == [
        (0, "modify", 3),
        (1, "modify", 2),
        (3, "located_at", 2),
    ]
    assert [(r.head, r.tail) for r in graph.relations[3:]] == [(4, 7), (5, 6), (7, 6)]


def test_a_relation_to_a_word_that_is_no_entity_is_refused():
    with pytest.raises(ValueError, match=r"'opacity' refers to 'lobe', which is no entity"):
        read_template("[opacity:+@lobe] in the lobe .")


def test_every_template_reads():
    fillers = dict.fromkeys(("mild", "mildly", "small", "patchy", "linear"), "moderate")
    tables = [*SENTENCES.values(), *PHRASES.values(), *DENIED.values()]
    rest = [BYSTANDERS, CLEAR_LUNGS, NORMAL_HEART, NORMAL_IMPRESSIONS, SHARP_ANGLES]
    for template in (template for table in [*tables, *rest] for template in table):
        place = "[left:A>lobe] [lower:A>lobe] [lobe:A]"
        assert read_template(template.format(side="left", place=place, at="lobe", **fillers)).entities


def test_an_image_survives_png_at_512_pixels():
    image = pixels(phantom_study(5, size=512))
    assert image.dtype == np.uint8
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    assert np.array_equal(np.asarray(Image.open(stream)), image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": -1}, "phantom index -1: expected 0 or more"),
        ({"index": 0, "seed": -1}, "phantom seed -1: expected 0 or more"),
        ({"index": 0, "size": 32}, "phantom size 32: expected 64 to 512 pixels"),
    ],
)
def test_arguments_out_of_range_give_one_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        phantom_study(**arguments)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="phantom count -1: expected 0 or more"):
        next(read_phantom(-1))
