"""The phantom: same index, same study; labels, masks and pictures all tell of one scene."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.phantom import FINDINGS, LABELS
from igcl_lightning.phantom.case import HARD_PATHOLOGIES, Case, find_case
from igcl_lightning.phantom.difficulty import AP_MAGNIFICATION, LARGE_HEART, NORMAL_HEART
from igcl_lightning.phantom.lateral_findings import LATERAL_FINDINGS
from igcl_lightning.phantom.pathologies import PATHOLOGIES
from igcl_lightning.phantom.patient import Stream
from igcl_lightning.phantom.scene import DEVICES, Scene
from igcl_lightning.phantom.shortcut import draw_mark

UNSEEN_FROM_THE_SIDE = {name for name, draw in LATERAL_FINDINGS.items() if draw is None}


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return [phantom_study(index, size=64) for index in range(300)]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [find_case(index) for index in range(1800)]


def pixels(image: StudyImage) -> np.ndarray:
    assert isinstance(image.source, np.ndarray)
    return image.source


def scene_of(study: Study) -> Scene:
    return find_case(int(study.study_id.removeprefix("phantom-"))).scene


def same(first: StudyImage, second: StudyImage) -> bool:
    masks = first.masks.keys() == second.masks.keys() and all(
        np.array_equal(first.masks[name], second.masks[name]) for name in first.masks
    )
    return masks and first.view == second.view and np.array_equal(pixels(first), pixels(second))


def shrink(large: np.ndarray) -> np.ndarray:
    return large.reshape(len(large) // 2, 2, -1, 2).mean(axis=(1, 3))


def test_same_index_and_seed_give_the_same_study(studies):
    two_views = next(index for index, study in enumerate(studies) if len(study.images) == 2)
    for index in (11, two_views):
        first, again = studies[index], phantom_study(index, size=64)
        assert all(same(*pair) for pair in zip(first.images, again.images, strict=True))
        assert (first.report, first.graph, first.labels) == (again.report, again.graph, again.labels)


def test_another_process_draws_the_same_study(studies):
    script = (
        "import hashlib\n"
        "from igcl_lightning.data.sources.phantom import phantom_study\n"
        "study = phantom_study(40, size=64)\n"
        "print(hashlib.sha256(study.images[0].source.tobytes() + repr(study.report).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    study = studies[40]
    expected = hashlib.sha256(pixels(study.images[0]).tobytes() + repr(study.report).encode()).hexdigest()
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("other", [{"index": 12, "seed": 3}, {"index": 11, "seed": 4}])
def test_another_index_or_seed_gives_another_image(other):
    assert not np.array_equal(
        pixels(phantom_study(11, seed=3, size=64).images[0]), pixels(phantom_study(**other, size=64).images[0])
    )


@pytest.mark.parametrize("index", range(6))
def test_size_changes_the_resolution_and_nothing_else(index):
    small, large = phantom_study(index, size=128), phantom_study(index, size=256)
    assert (small.report, small.graph, small.labels) == (large.report, large.graph, large.labels)
    for image, twice in zip(small.images, large.images, strict=True):
        assert np.corrcoef(shrink(pixels(twice)).ravel(), pixels(image).ravel())[0, 1] > 0.98
        for name, mask in image.masks.items():
            assert abs(shrink(twice.masks[name]) - mask).mean() < 0.01, name


def test_labels_are_those_of_the_scene(studies):
    for study in studies:
        scene = scene_of(study)
        present = {finding.name for finding in scene.findings}
        assert tuple(study.labels) == LABELS
        assert {name for name in PATHOLOGIES if study.labels[name] == 1.0} == present
        assert study.labels["Support Devices"] == float(len(scene.devices) > 0)
        assert study.labels["No Finding"] == float(not present)


def test_every_label_is_common_and_none_is_the_rule(cases):
    for name in LABELS:
        assert 0.08 <= np.mean([case.scene.labels[name] for case in cases]) <= 0.40, name
    assert set(DEVICES) == {device.kind for case in cases for device in case.scene.devices}


def test_a_third_of_the_images_is_ap_and_a_quarter_of_the_others_has_a_lateral(cases):
    assert np.mean([case.scene.view == "AP" for case in cases]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([case.scene.lateral for case in cases if case.scene.view == "PA"]) == pytest.approx(0.25, abs=0.04)
    assert not any(case.scene.lateral for case in cases if case.scene.view == "AP")


def test_those_imaged_in_bed_are_sicker(cases):
    in_bed = [case.scene for case in cases if case.scene.view == "AP"]
    upright = [case.scene for case in cases if case.scene.view == "PA"]
    for name in ("Support Devices", "Edema", "Pleural Effusion"):
        rates = [np.mean([scene.labels[name] for scene in scenes]) for scenes in (in_bed, upright)]
        assert rates[0] > 1.3 * rates[1], name


def test_images_of_a_study(studies):
    for study in studies:
        scene = scene_of(study)
        assert [image.view for image in study.images] == [scene.view, "lateral"][: 1 + scene.lateral]
        assert [image.image_id for image in study.images] == [study.study_id, f"{study.study_id}-lateral"][
            : 1 + scene.lateral
        ]


def test_lateral_images_can_be_left_out_and_nothing_else_changes(studies):
    frontal = [phantom_study(index, size=64, views="frontal") for index in range(20)]
    assert all(len(study.images) == 1 for study in frontal)
    for study, whole in zip(frontal, studies, strict=False):
        assert same(study.images[0], whole.images[0])
        assert study.report == whole.report


def test_patients_have_one_to_three_studies_and_one_split_age_and_sex(cases):
    facts, counts = defaultdict(set), Counter()
    for case in cases:
        patient = case.scene.patient
        facts[case.patient_id].add((patient.split, patient.age, patient.sex))
        counts[case.patient_id] += 1
    assert all(len(fact) == 1 for fact in facts.values())
    assert set(counts.values()) == {1, 2, 3}
    splits = Counter(next(iter(fact))[0] for fact in facts.values())
    assert splits["train"] / len(facts) == pytest.approx(0.7, abs=0.001)
    assert splits["valid"] / len(facts) == pytest.approx(0.1, abs=0.001)


def test_a_later_study_knows_the_one_before(cases):
    for before, case in pairwise(cases):
        if case.patient_id == before.patient_id:
            assert case.scene.ordinal == before.scene.ordinal + 1
            assert case.scene.previous == before.scene.findings
        else:
            assert case.scene.ordinal == 0
            assert case.scene.previous is None


def test_about_half_of_the_findings_stay_where_they_were(cases):
    stayed, moved = [], []
    for case in cases:
        for finding in case.scene.previous or ():
            later = case.scene.finding(finding.name)
            stayed.append(later is not None)
            if later:
                moved.append((later.side, later.zone) != (finding.side, finding.zone))
    assert 0.45 < np.mean(stayed) < 0.7
    assert np.mean(moved) < 0.2


def test_no_two_findings_fill_one_zone(cases):
    for case in cases:
        places = [(finding.side, finding.zone) for finding in case.scene.findings if finding.zone]
        assert len(set(places)) == len(places)
        assert all(
            bool(finding.zone) == (PATHOLOGIES[finding.name].zones is not None) for finding in case.scene.findings
        )


def test_mild_findings_are_hedged_more_often(cases):
    hedged = defaultdict(list)
    for finding in (finding for case in cases for finding in case.scene.findings):
        hedged[finding.severity].append(finding.certainty != "definite")
    mild, moderate, severe = (np.mean(hedged[severity]) for severity in range(3))
    assert 0.35 < mild < 0.55
    assert mild > moderate > severe > 0


def test_a_chest_tube_drains_air_or_fluid_of_its_side(cases):
    for scene in (case.scene for case in cases):
        for device in scene.devices:
            if device.kind == "chest tube":
                drained = [scene.finding("Pneumothorax"), scene.finding("Pleural Effusion")]
                assert device.side in {finding.side for finding in drained if finding and finding.severity}


def test_implants_stay_with_the_patient(cases):
    implants = defaultdict(set)
    for case in cases:
        kept = (device for device in case.scene.devices if device.kind in ("pacemaker", "sternotomy wires"))
        implants[case.patient_id].add(tuple(kept))
    assert all(len(sets) == 1 for sets in implants.values())


def test_ids_count_studies():
    first, second = phantom_study(12, size=64), phantom_study(13, size=64)
    assert (first.study_id, second.study_id) == ("phantom-000012", "phantom-000013")


def test_masks_are_boolean_and_as_large_as_the_image(studies):
    for study in studies:
        present = {name for name in FINDINGS if study.labels[name]}
        for image in study.images:
            seen = present - UNSEEN_FROM_THE_SIDE if image.view == "lateral" else present
            assert set(image.masks) == {"left_lung", "right_lung", "heart"} | seen
            for name, mask in image.masks.items():
                assert mask.dtype == bool
                assert mask.shape == (64, 64)
                assert mask.any(), (image.image_id, name)


def test_the_patients_left_lung_is_on_the_right_of_the_image(studies):
    for study in studies[:60]:
        masks = study.images[0].masks
        left, right = (np.nonzero(masks[name])[1].mean() for name in ("left_lung", "right_lung"))
        assert left > right + 10


def test_an_enlarged_heart_is_wider_than_any_normal_one_of_its_view():
    threshold = (NORMAL_HEART[1] + LARGE_HEART[0][0]) / 2
    for index in range(40):
        study = phantom_study(index, size=256, views="frontal")
        masks, view = study.images[0].masks, study.images[0].view
        columns = {name: np.nonzero(mask.any(axis=0))[0] for name, mask in masks.items()}
        chest = columns["left_lung"].max() - columns["right_lung"].min() + 1
        ratio = (np.ptp(columns["heart"]) + 1) / chest
        limit = threshold * (AP_MAGNIFICATION if view == "AP" else 1)
        assert (ratio > limit) == bool(study.labels["Cardiomegaly"]), (index, view, ratio)


def test_findings_lie_on_their_side_and_effusions_at_the_base(studies):
    for study in studies:
        masks = study.images[0].masks
        middle = (np.nonzero(masks["left_lung"])[1].min() + np.nonzero(masks["right_lung"])[1].max()) / 2
        for finding in scene_of(study).findings:
            if finding.side != "bilateral":
                on_the_left = np.mean(np.nonzero(masks[finding.name])[1] > middle)
                assert (on_the_left > 0.8) == (finding.side == "left"), (study.study_id, finding)
        if "Pleural Effusion" in masks:
            lung_rows = np.nonzero(masks["left_lung"] | masks["right_lung"])[0]
            assert np.nonzero(masks["Pleural Effusion"])[0].max() > np.quantile(lung_rows, 0.9)


def test_zones_follow_each_other_downwards(studies):
    heights = defaultdict(list)
    for study in studies:
        masks = study.images[0].masks
        for finding in scene_of(study).findings:
            if finding.zone:
                rows = np.nonzero(masks[f"{finding.side}_lung"])[0]
                height = (np.nonzero(masks[finding.name])[0].mean() - rows.min()) / np.ptp(rows)
                heights[finding.zone].append(height)
    upper, middle, lower = (heights[zone] for zone in ("upper", "middle", "lower"))
    assert np.quantile(upper, 0.95) < np.mean(middle) < np.quantile(lower, 0.05)


def test_lesions_lie_in_the_lung_beside_the_heart(studies):
    for study in studies:
        masks = study.images[0].masks
        if "Lung Lesion" in masks:
            outside_heart = masks["Lung Lesion"] & ~masks["heart"]
            assert outside_heart.sum() > 0.7 * masks["Lung Lesion"].sum(), study.study_id


@pytest.mark.parametrize("size", [64, 256])
def test_devices_are_brighter_than_what_is_around_them(size, cases):
    with_devices = [index for index, case in enumerate(cases[:120]) if case.scene.devices]
    brighter = []
    for index in with_devices:
        for image in phantom_study(index, size=size).images:
            mask = image.masks["Support Devices"]
            around = binary_dilation(mask, iterations=2 * size // 64) & ~binary_dilation(mask)
            brighter.append(pixels(image)[mask].mean() - pixels(image)[around].mean())
    assert np.mean(np.array(brighter) > 0) > 0.9
    assert np.mean(brighter) > 10


def test_in_the_lateral_image_the_heart_lies_in_front_and_fluid_behind_and_below(studies):
    for study in studies:
        for image in study.images[1:]:
            lungs = image.masks["left_lung"] | image.masks["right_lung"]
            rows, columns = (axis.mean() for axis in np.nonzero(lungs))
            assert np.nonzero(image.masks["heart"])[1].mean() < columns
            if "Pleural Effusion" in image.masks:
                fluid_rows, fluid_columns = (axis.mean() for axis in np.nonzero(image.masks["Pleural Effusion"]))
                assert fluid_rows > rows
                assert fluid_columns > columns


def test_hard_negatives_are_twins_with_sides_and_zones_swapped():
    for pair in range(60):
        first, second = (find_case(2 * pair + twin, variant="hard_negatives") for twin in range(2))
        assert first.patient_id == second.patient_id == f"phantom-hard-patient-{pair:06d}"
        assert first.scene.patient.split == "test"
        assert second.scene.patient == first.scene.patient
        assert (first.scene.view, first.scene.devices) == (second.scene.view, second.scene.devices)
        one, other = first.scene.findings
        assert {one.name, other.name} <= set(HARD_PATHOLOGIES)
        assert {one.side, other.side} == {"left", "right"}
        assert min(one.severity, other.severity) >= 1
        zones = (other.zone, one.zone) if one.zone and other.zone else (one.zone, other.zone)
        assert second.scene.findings == (
            replace(one, side=other.side, zone=zones[0]),
            replace(other, side=one.side, zone=zones[1]),
        )


def test_hard_negatives_differ_in_the_picture():
    for pair in range(10):
        first, second = (phantom_study(2 * pair + twin, size=64, variant="hard_negatives") for twin in range(2))
        assert first.study_id == f"phantom-hard-{2 * pair:06d}"
        assert first.labels == second.labels
        assert not np.array_equal(pixels(first.images[0]), pixels(second.images[0]))
        for finding in find_case(2 * pair, variant="hard_negatives").scene.findings:
            places = [np.nonzero(study.images[0].masks[finding.name])[1].mean() for study in (first, second)]
            assert (places[0] > places[1]) == (finding.side == "left")


def test_the_shortcut_goes_with_its_label_except_in_the_test_split(cases):
    marked = defaultdict(list)
    for case in cases:
        present = bool(case.scene.labels["Edema"])
        mark = draw_mark(present, case.scene.patient.split, case.rng(Stream.SHORTCUT))
        marked[case.scene.patient.split == "test", present].append(mark is not None)
    rates = {key: np.mean(values) for key, values in marked.items()}
    assert rates[False, True] == pytest.approx(0.95, abs=0.05)
    assert rates[False, False] == pytest.approx(0.05, abs=0.03)
    assert rates[True, True] == pytest.approx(0.5, abs=0.2)
    assert rates[True, False] == pytest.approx(0.5, abs=0.1)


def test_the_shortcut_changes_a_corner_and_nothing_else(studies):
    seen = set()
    for index, plain in enumerate(studies[:60]):
        marked = phantom_study(index, size=64, shortcut="Edema")
        assert (plain.report, plain.labels, plain.split) == (marked.report, marked.labels, marked.split)
        assert not plain.extra
        seen.add(marked.extra["shortcut"])
        for before, after in zip(plain.images, marked.images, strict=True):
            assert same(before, replace(after, source=before.source))
            rows, columns = np.nonzero(pixels(before) != pixels(after))
            assert (marked.extra["shortcut"] == "1") == (len(rows) > 0)
            assert all(rows >= 64 - 12)
            assert all((columns < 12) | (columns >= 64 - 12))
    assert seen == {"0", "1"}


def test_an_image_survives_png_at_512_pixels():
    image = pixels(phantom_study(5, size=512).images[0])
    assert image.dtype == np.uint8
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    assert np.array_equal(np.asarray(Image.open(stream)), image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": -1}, "phantom index -1: expected 0 or more"),
        ({"seed": -1}, "phantom seed -1: expected 0 or more"),
        ({"size": 32}, "phantom size 32: expected 64 to 512 pixels"),
        ({"variant": "easy"}, "phantom variant 'easy': expected one of standard, hard_negatives"),
        ({"views": "lateral"}, "phantom views 'lateral': expected one of all, frontal"),
        ({"phrasing": "odd"}, "phantom phrasing 'odd': expected one of mixed, known, held_back, reworded"),
        ({"shortcut": "Edma"}, f"phantom shortcut 'Edma': expected one of {', '.join(LABELS)}"),
    ],
)
def test_arguments_out_of_range_give_one_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        phantom_study(**{"index": 0, **arguments})
