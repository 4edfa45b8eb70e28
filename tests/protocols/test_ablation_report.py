"""Numbers of a table against loops over patients."""

import json

import numpy as np
import pytest

from by_patient import left_out
from igcl_lightning.evaluation.intervals import interval, p_value
from igcl_lightning.protocols.ablation_report import Finished, write_report

PATIENT = np.repeat(np.arange(20), 2)
STORES = {"pairs": "phantom", "validation": "hard"}
PROBED = {"valid": 40, "test": 70}


def answers(rng, share):
    def kind(of):
        right = rng.binomial(1, of, 40).tolist()
        return {"patient": PATIENT.tolist(), "right": right, "asked": [1] * 40}

    return {"own": kind(share), "blind": kind(0.5)}


def cell(name, seed, scores):
    rng = np.random.default_rng(seed + len(name))
    result = {
        "choices": {"validation": {score: answers(rng, share) for score, share in scores.items()}},
        "counterfactuals": {"side": {score: answers(rng, share) for score, share in scores.items()}},
        "probe": {
            split: {"auroc_estimate": {"0.01": [rng.uniform(0.6, 0.9), *rng.normal(size=30) / 200]}, "rows": rows}
            for split, rows in PROBED.items()
        },
        "seconds_per_epoch": 2.0 + seed,
    }
    return Finished(name, seed, result)


@pytest.fixture
def finished():
    every = {"global": 0.6, "local": 0.7, "both": 0.8}
    return [cell("plain", 0, {"global": 0.5}), cell("plain", 1, {"global": 0.6}), cell("local", 1, every)]


@pytest.fixture
def found(finished, tmp_path):
    text = write_report(finished, [("local", "plain")], STORES, tmp_path)
    records = json.loads((tmp_path / "results.json").read_text())
    found = {(each["method"], each["seed"], each["versus"], _metric(each)): each for each in records}
    assert len(found) == len(records)
    return found, text


def _metric(record):
    """The metric; of probes, scored on two splits here, with the split."""
    return f"{record['split']} auroc" if record["metric"] == "auroc" else record["metric"]


def accuracy(finished, index, score, kind="own", rows=slice(None), part=("choices", "validation")):
    return np.mean(np.array(finished[index].result[part[0]][part[1]][score][kind]["right"])[rows])


def test_local_scores_are_compared_with_global_pooling_of_the_same_seeds(finished, found):
    """The other row has no local score: its global one stands in, of the seed that both have."""
    records, _ = found
    for score in ("global", "local", "both"):
        record = records["local", None, "plain", f"within_patient_accuracy_{score}"]
        assert record["value"] == pytest.approx(accuracy(finished, 2, score) - accuracy(finished, 1, "global"))
        expected = left_out(
            lambda at, score=score: accuracy(finished, 2, score, rows=at) - accuracy(finished, 1, "global", rows=at),
            PATIENT,
        )
        assert [record["ci_low"], record["ci_high"]] == pytest.approx(interval(expected, 20))
        assert record["p_value"] == pytest.approx(p_value(expected, 20))
        assert (record["runs"], record["few"]) == (1, False)
        assert (record["store"], record["group"], record["n"]) == ("hard", "validation", 40)
    assert ("plain", None, None, "within_patient_accuracy_local") not in records


def test_means_over_seeds_and_blind_controls(finished, found):
    records, _ = found
    mean = records["plain", None, None, "within_patient_accuracy_global"]["value"]
    assert mean == pytest.approx((accuracy(finished, 0, "global") + accuracy(finished, 1, "global")) / 2)
    both = [accuracy(finished, place, "global") for place in (0, 1)]
    whole = records["plain", None, None, "within_patient_accuracy_global"]
    assert (whole["runs"], whole["run_sd"]) == (2, pytest.approx(np.std(both, ddof=1)))
    assert records["plain", 1, None, "within_patient_accuracy_global"]["value"] == accuracy(finished, 1, "global")
    blind = records["local", None, None, "within_patient_accuracy_both_blind"]["value"]
    assert blind == accuracy(finished, 2, "both", "blind")
    seconds = records["plain", None, None, "seconds_per_epoch"]
    assert (seconds["value"], seconds["ci_low"], seconds["runs"]) == (2.5, None, 2)
    for split, rows in PROBED.items():
        probes = [np.array(each.result["probe"][split]["auroc_estimate"]["0.01"]) for each in finished]
        apart = records["local", None, "plain", f"{split} auroc"]
        assert apart["value"] == pytest.approx(probes[2][0] - probes[1][0])
        assert [apart["ci_low"], apart["ci_high"]] == pytest.approx(interval(probes[2] - probes[1]))
        assert apart["p_value"] == pytest.approx(p_value(probes[2] - probes[1]))
        mean = records["plain", None, None, f"{split} auroc"]
        assert [mean["ci_low"], mean["ci_high"]] == pytest.approx(interval((probes[0] + probes[1]) / 2, None, "unit"))
        assert (apart["n"], apart["fraction"], apart["store"]) == (rows, 0.01, "phantom")


def test_the_table_shows_the_blind_control_of_the_last_score(finished, found, tmp_path):
    _, text = found
    lines = [line.split("  ") for line in text.splitlines()]
    (row,) = [[part.strip() for part in line if part.strip()] for line in lines if line[0] == "local"]
    (titles,) = [[part.strip() for part in line if part.strip()] for line in lines if line[0] == "validation"]
    assert titles == [
        "validation",
        *("global", "local", "both", "blind"),
        *("side", "side blind"),
        *("probe 1 %, valid", "probe 1 %", "s/epoch", "seeds"),
    ]
    shown = dict(zip(titles, row, strict=True))
    assert shown["both"].startswith(f"{accuracy(finished, 2, 'both'):.3f} [")
    assert shown["blind"].startswith(f"{accuracy(finished, 2, 'both', 'blind'):.3f} [")
    assert shown["side"].startswith(f"{accuracy(finished, 2, 'both', part=('counterfactuals', 'side')):.3f} [")
    blind = accuracy(finished, 2, "both", "blind", part=("counterfactuals", "side"))
    assert shown["side blind"].startswith(f"{blind:.3f} [")
    assert (shown["s/epoch"], shown["seeds"]) == ("3.0", "1")
    assert "local - plain" in text
    (counts,) = [line for line in text.splitlines() if line.startswith("n ")]
    assert counts.split() == ["n", *["40"] * 7, "70"], "of choices and of the probe; none of seconds and seeds"
    markdown = (tmp_path / "table.md").read_text()
    assert f"| {' | '.join(row)} |" in markdown


def test_a_table_without_hard_negatives_shows_its_probes(finished, tmp_path):
    for each in finished:
        each.result["choices"].clear()
        each.result["counterfactuals"].clear()
    text = write_report(finished, [], {"pairs": "phantom"}, tmp_path)
    assert [line.partition(":")[0] for line in text.splitlines()[:2]] == ["probe", "s/epoch"], (
        "no other column is explained"
    )
    assert text.splitlines()[4].split() == ["probe", "probe", "1", "%,", "valid", "probe", "1", "%", "s/epoch", "seeds"]
