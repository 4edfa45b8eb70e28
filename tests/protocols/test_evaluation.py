"""`igcl evaluate`: every protocol against its own program, what is measured again, what is refused."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from forked_cells import Forked
from hard_negative_answers import hard_negative_answers
from igcl_lightning.cli import main
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.retrieval import summarise_retrieval
from igcl_lightning.evaluation.within_patient import summarise_choices
from igcl_lightning.modules import IGCL, BaseModule, ConVIRT, SimCLR
from igcl_lightning.protocols import cells
from igcl_lightning.protocols.contestants import Contestant, from_checkpoint
from igcl_lightning.protocols.hard_negatives import HardNegatives
from igcl_lightning.protocols.linear import Linear
from igcl_lightning.protocols.retrieval import Retrieval, retrieval_answers
from igcl_lightning.protocols.zero_shot import ZeroShotProtocol
from saved import save_as_fit
from seen_fits import see_fits

pytestmark = pytest.mark.long

IMAGE = {"backbone": "test_resnet", "size": 32}
LABELS = ["Edema", "Pleural Effusion"]
LINEAR = {
    "protocol": "linear",
    "labels": LABELS,
    "fractions": [0.5, 1.0],
    "draws": 2,
    "baseline_seeds": 2,
    "supervised_epochs": [1, 2],
}
PROTOCOLS = {
    "linear": LINEAR,
    "few_shot": {"protocol": "few_shot", "labels": LABELS, "shots": [2], "draws": 2},
    "zero_shot": {"protocol": "zero_shot", "labels": LABELS, "splits": ["valid", "test"]},
    "retrieval": {"protocol": "retrieval", "k": [1, 3]},
    "hard_negatives": {"protocol": "hard_negatives"},
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, phantom_store):
    folder, made = tmp_path_factory.mktemp("pretrained"), {}
    models = {"igcl:1": IGCL, "igcl:2": IGCL, "convirt:1": ConVIRT, "simclr:1": SimCLR}
    options = {IGCL: {"graph": {"channels": 16}}, ConVIRT: {"text": {"channels": 16, "layers": 1}}, SimCLR: {}}
    for number, (name, kind) in enumerate(models.items()):
        torch.manual_seed(number)
        path = folder / f"{name.replace(':', '-')}.ckpt"
        made[name] = save_as_fit(kind(image=IMAGE, projection={"channels": 16}, **options[kind]), path, phantom_store)
    return made


@pytest.fixture(scope="module")
def oracle(tmp_path_factory, phantom_store):
    """Features that give one label away."""
    store, rng = Store(phantom_store), np.random.default_rng(0)
    place, frames = store.labels.index(LABELS[0]), []
    for split in store.splits:
        noise = rng.normal(0, 0.1, (len(store.table(split)), 4))
        feature = noise + store.targets(split)[:, place : place + 1]
        frames.append(pd.DataFrame({"row": store.column(split, "row"), "feature": list(feature)}))
    path = tmp_path_factory.mktemp("features") / "oracle.parquet"
    pd.concat(frames).to_parquet(path)
    return str(path)


@pytest.fixture
def run(tmp_path_factory, phantom_store, monkeypatch):
    """Evaluate with protocols given as mappings; returns the status."""
    return runner(tmp_path_factory.mktemp("protocols"), phantom_store, monkeypatch)


def runner(folder, store, patch):
    patch.setattr(cells, "_start", Forked)

    def run(out, protocols, *words):
        names = []
        for name, content in protocols.items():
            path = folder / f"{name}.yaml"
            path.write_text(yaml.safe_dump(content))
            names.append(str(path))
        return main(["evaluate", "--protocol", ",".join(names), "--store", str(store), "--out", str(out), *words])

    return run


def contestants(checkpoints, oracle):
    words = [f"--checkpoint={name}={path}" for name, path in checkpoints.items()]
    return [*words, "--encoder", oracle, "--baselines", "random,supervised", "--jobs", "2"]


@pytest.fixture(scope="module")
def evaluated(checkpoints, oracle, phantom_store, tmp_path_factory):
    """An evaluation by all protocols; returns its folder."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTS_DRAW_BLANK_PICTURES", "1")
        run = runner(tmp_path_factory.mktemp("protocols"), phantom_store, patch)
        assert run(out, PROTOCOLS, *contestants(checkpoints, oracle)) == 0
    return out


def records(out, **wanted):
    found = json.loads((out / "results.json").read_text())
    return [each for each in found if all(each[name] == value for name, value in wanted.items())]


def test_each_protocol_asks_those_that_it_can(evaluated):
    methods = {name: {each["method"] for each in records(evaluated, protocol=name)} for name in PROTOCOLS}
    encoders = {"igcl", "convirt", "simclr", "oracle", "random"}
    assert methods["linear"] == {*encoders, "supervised"}
    assert methods["few_shot"] == encoders
    assert methods["zero_shot"] == methods["retrieval"] == methods["hard_negatives"] == {"igcl", "convirt"}


def test_the_first_method_is_compared_with_the_others_over_seeds_and_draws(evaluated):
    about = {"protocol": "linear", "fraction": 0.5, "label": "mean", "metric": "auroc", "group": None}
    single = {each["seed"]: each["value"] for each in records(evaluated, **about, method="igcl") if not each["versus"]}
    mean = single.pop(None)
    assert set(single) == {1000, 1001, 2000, 2001}
    assert mean == pytest.approx(sum(single.values()) / 4)
    for other in ("convirt", "oracle", "random", "supervised"):
        (value,) = (each["value"] for each in records(evaluated, **about, method=other, seed=None))
        (apart,) = records(evaluated, **about, method="igcl", versus=other)
        assert apart["value"] == pytest.approx(mean - value)
    (found,) = records(evaluated, **about | {"label": LABELS[0], "fraction": 1.0}, method="oracle", seed=None)
    assert found["value"] > 0.95


def test_runs_of_random_weights_and_of_supervised_training_have_a_seed_each(evaluated):
    frame = pd.read_parquet(evaluated / "predictions.parquet")
    seeds = frame.groupby(["method", "fraction"])["seed"].unique().map(sorted).to_dict()
    assert seeds["random", 0.5] == seeds["random", 1.0] == seeds["supervised", 0.5] == [0, 1]
    assert seeds["supervised", 1.0] == [0]
    for method in ("random", "supervised"):
        drawn = frame[(frame["method"] == method) & (frame["fraction"] == 0.5)]
        first, second = (drawn[drawn["seed"] == seed]["score"].to_numpy() for seed in (0, 1))
        assert not np.allclose(first, second)


def test_zero_shot_is_that_of_the_module(evaluated, checkpoints, phantom_store, tmp_path):
    words = [
        "--config",
        "probe/zero_shot.yaml",
        "--data.store",
        str(phantom_store),
        "--data.labels",
        json.dumps(LABELS),
    ]
    words += ["--model.checkpoint", checkpoints["igcl:1"], "--trainer.logger", "CSVLogger"]
    assert main(["test", *words, "--trainer.logger.save_dir", str(tmp_path), "--trainer.logger.name", "run"]) == 0
    expected = json.loads((tmp_path / "run" / "version_0" / "results.json").read_text())
    for each in expected:
        wanted = {"protocol": "zero_shot", "method": "igcl", "seed": 1000, "split": "test", "label": each["label"]}
        (found,) = records(evaluated, **wanted, metric=each["metric"])
        assert found["value"] == pytest.approx(each["value"], abs=1e-6)
    assert {each["split"] for each in records(evaluated, protocol="zero_shot")} == {"valid", "test"}


def test_retrieval_and_hard_negatives_are_those_of_their_functions(evaluated, checkpoints, phantom_store):
    module = BaseModule.load_from_checkpoint(checkpoints["igcl:2"], map_location="cpu")
    run = Run("igcl", None, None, 2)
    answers = {run: retrieval_answers(module, phantom_store, k=(1, 3))}
    about = {"store": phantom_store.name, "split": "test"}
    expected = [each for each in summarise_retrieval(answers, **about) if each["seed"] == 2]
    assert expected == records(evaluated, protocol="retrieval", method="igcl", seed=2)
    assert {"image_to_report_recall@3"} <= {each["metric"] for each in records(evaluated, method="convirt")}
    given = hard_negative_answers(module, phantom_store)["global"]._asdict()
    for image, metric in (("own", "within_patient_accuracy"), ("blind", "within_patient_accuracy_blind")):
        (each,) = records(evaluated, metric=metric, method="igcl", seed=2)
        about = {"metric": metric, "protocol": "hard_negatives", "store": phantom_store.name, "split": "test"}
        (made, _) = summarise_choices({run: given[image]}, **about)
        assert each == made


def test_the_table_says_what_it_is_of(evaluated, run, checkpoints, oracle, capsys):
    assert run(evaluated, PROTOCOLS, *contestants(checkpoints, oracle)) == 0
    printed = capsys.readouterr().out
    for words in ("linear\n", "few_shot\n", "igcl - supervised", "labels saved", "image to graph", "of one patient"):
        assert words in printed
    assert "measured before: igcl-1, igcl-2, convirt-1, simclr-1, oracle, random, supervised" in printed
    assert "AUROC" in printed.partition("zero_shot")[2]
    assert "not asked: simclr-1, which reads no reports, so no prompts" in printed
    titles, *lines = printed.partition("all together")[2].partition("method")[2].splitlines()[:7]
    assert titles.split() == ["50", "%", "100", "%", "2-shot", "zero_shot", "recall@1", "own", "report", "blind"]
    assert [line.split()[0] for line in lines] == ["igcl", "convirt", "simclr", "oracle", "random", "supervised"]
    assert (evaluated / "table.md").read_text().count("| supervised |") == 1


def measured(out):
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("*/*-*.parquet")} | {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.glob("*/zero_shot.parquet")
    }


def test_only_what_has_changed_is_measured_again(evaluated, run, checkpoints, oracle, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    before = measured(out)
    asked = {name: PROTOCOLS[name] for name in ("linear", "few_shot", "zero_shot")}
    words = contestants(checkpoints, oracle)
    (out / "results.json").unlink()
    assert run(out, asked, *words) == 0
    assert {each["protocol"] for each in records(out)} == set(asked)
    assert measured(out) == before, "statistics are computed from what stands"
    asked["linear"] = LINEAR | {"fractions": [0.25, 1.0], "supervised_epochs": [1, 1]}
    (out / "convirt-1" / "zero_shot.parquet").unlink()
    (out / "oracle" / "few_shot-2.parquet").write_bytes(b"damaged")
    assert run(out, asked, *words) == 0
    changed = {path for path, when in measured(out).items() if before.get(path) != when}
    names = ("igcl-1", "igcl-2", "convirt-1", "simclr-1", "oracle", "random", "supervised")
    new = {f"{name}/linear-0.25.parquet" for name in names}
    assert changed == {*new, "supervised/linear-1.parquet", "convirt-1/zero_shot.parquet", "oracle/few_shot-2.parquet"}
    assert {each["fraction"] for each in records(out, protocol="linear")} == {0.25, 1.0}


def test_other_contents_of_a_name_are_measured_anew(evaluated, run, checkpoints, oracle, phantom_store, tmp_path):
    """Weights, a file of features, a store; what is not asked for now is no result any more."""
    out = tmp_path / "out"
    shutil.copytree(evaluated, out)
    before = measured(out)
    words = ["--checkpoint", f"igcl:1={checkpoints['igcl:2']}", "--checkpoint", f"igcl:2={checkpoints['igcl:2']}"]
    assert run(out, {"few_shot": PROTOCOLS["few_shot"]}, *words) == 0
    changed = {path for path, when in measured(out).items() if before.get(path) != when}
    assert changed == {"igcl-1/few_shot-2.parquet"}
    assert not {each["protocol"] for each in records(out)} - {"few_shot"}
    assert set(pd.read_parquet(out / "predictions.parquet")["method"]) == {"igcl"}

    store, features = tmp_path / "store", tmp_path / "oracle.parquet"
    shutil.copytree(phantom_store, store)
    shutil.copy(oracle, features)
    one = {"few_shot": PROTOCOLS["few_shot"]}
    words = ["--encoder", str(features), "--store", str(store)]
    times = []
    for change in (lambda: None, lambda: alter(features), lambda: None, lambda: refingerprint(store)):
        change()
        assert run(out, one, *words) == 0
        times.append(measured(out)["oracle/few_shot-2.parquet"])
    assert times[0] != times[1] == times[2] != times[3]


def alter(features):
    frame = pd.read_parquet(features)
    frame.assign(feature=frame["feature"] * 2).to_parquet(features)


def refingerprint(store):
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "other"}))


def test_a_protocol_passes_its_options_on(checkpoints, phantom_store, tmp_path):
    """Scores, pools, k and labels are those of its file; `retrieval_answers` and the rest prove what they mean."""
    torch.manual_seed(0)
    local = {"matching": {"weight": 1.0, "channels": 8}, "graph": {"channels": 16}}
    path = save_as_fit(IGCL(image=IMAGE, projection={"channels": 16}, **local), tmp_path / "local.ckpt", phantom_store)
    contestant, store = from_checkpoint(path), Store(phantom_store)
    assert set(contestant.scores) == {"global", "local", "both"}
    module = BaseModule.load_from_checkpoint(path, map_location="cpu")

    asked = {"score": "local", "labels": ["Edema"], "keep_empty": True}
    frame = Retrieval(k=[2], **asked).measure(contestant, store, {})
    answers = retrieval_answers(module, phantom_store, k=(2,), **asked)
    for each, (_, lines) in zip(answers, frame.groupby("direction", sort=False), strict=True):
        assert lines["rank"].tolist() == each.rank[0].tolist()
        np.testing.assert_array_equal(lines["precision@2_without_own Edema"], each.precision[1, :, 0, 0])
    given = hard_negative_answers(module, phantom_store)
    for score in ("global", "local"):
        frame = HardNegatives(score=score).measure(contestant, store, {})
        assert frame[frame["image"] == "own"]["right"].tolist() == given[score].own.right.tolist()
    assert given["global"].own.right.tolist() != given["local"].own.right.tolist()
    scores = {}
    for score, statements in (("global", 1), ("local", 1), ("global", 2)):
        protocol = ZeroShotProtocol(labels=["Edema"], score=score, statements=statements)
        scores[score, statements] = tuple(protocol.measure(contestant, store, {})["score"])
        protocol.check(store, [contestant])
    assert len(set(scores.values())) == 3
    with pytest.raises(IgclError, match="protocol retrieval: igcl-1 has no score 'local': it has no local branch"):
        Retrieval(score="local").check(store, [from_checkpoint(f"igcl:1={checkpoints['igcl:1']}")])


def test_supervised_training_depends_on_its_own_options_only():
    supervised, random = Contestant("supervised", image=IMAGE), Contestant("random", image=IMAGE)
    usual, part = Linear(fractions=[0.5, 1.0], supervised_epochs=[1, 2]), {"fraction": 0.5}
    for other, is_new in (
        (Linear(fractions=[0.5, 1.0], supervised_epochs=[3, 2]), True),
        (Linear(fractions=[0.5, 1.0], supervised_epochs=[1, 3]), False),
        (Linear(fractions=[0.5], supervised_epochs=[1]), False),
        (Linear(fractions=[0.5, 1.0], supervised_epochs=[1, 2], supervised_learning_rate=0.1), True),
    ):
        assert (other.settings(supervised, part) != usual.settings(supervised, part)) == is_new
        assert other.settings(random, part) == usual.settings(random, part)
    assert Linear(draws=3).settings(random, part) != usual.settings(random, part)


def test_supervised_training_keeps_its_best_epoch_and_rate(phantom_store, monkeypatch):
    fitted = see_fits(monkeypatch)
    protocol = Linear(fractions=[0.5], supervised_epochs=[40], supervised_learning_rate=0.02, baseline_seeds=1)
    protocol.measure(Contestant("supervised", image=IMAGE), Store(phantom_store), {"fraction": 0.5})
    (trainer, module, data), best = fitted
    assert best == "best"
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch) == (40, 2)
    assert module.optim.learning_rate == 0.02
    assert data.fraction == 0.5


def test_a_contestant_that_fails_is_one_line_and_the_others_go_on(evaluated, run, checkpoints, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--checkpoint", f"igcl={checkpoints['igcl:1']}", "--checkpoint", f"other={checkpoints['igcl:2']}"]
    (out / "other" / "few_shot-2.parquet").mkdir(parents=True)
    (out / ".evaluation").write_text("{}")
    assert run(out, {"few_shot": PROTOCOLS["few_shot"]}, *words, "--jobs", "1") == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("igcl: error")]
    assert line.startswith("igcl: error: other: ")
    assert "few_shot-2.parquet" in line
    assert "not finished: other" in said.out
    assert {each["method"] for each in records(out)} == {"igcl"}


def test_prompts_are_asked_anew_when_their_file_changes_and_inverted_ones_named_each_time(
    run, checkpoints, tmp_path, capsys
):
    out, prompts = tmp_path / "out", tmp_path / "mine.tsv"
    asked = {"zero_shot": {"protocol": "zero_shot", "labels": ["Edema"], "prompts": str(prompts), "statements": 1}}
    scores = []
    for statement in ("[edema]", "[edema]", "(interstitial) [edema]"):
        prompts.write_text(f"Edema\t{statement}\nEdema\tno [-edema]\t{statement}\n")  # one of the two is inverted
        assert run(out, asked, "--checkpoint", checkpoints["igcl:1"]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "AUROC below .5" in line]
        assert len(told) == 1
        assert re.match(r"igcl: warning: igcl, zero_shot: [12] of 2 prompts have an AUROC below .5", told[0])
        scores.append(pd.read_parquet(out / "predictions.parquet")["score"].tolist())
    assert scores[0] == scores[1] != scores[2]


def error(words, capsys):
    status = main(["evaluate", *words])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error")]
    return status, line.removeprefix("igcl: error: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--checkpoint SIMCLR --protocol zero_shot",
            "simclr: reads no reports, so no prompts; no use for it",
        ),
        (
            "--checkpoint SIMCLR --checkpoint IGCL --protocol retrieval",
            "simclr: reads no reports, so",
        ),
        (
            "--checkpoint SIMCLR --protocol linear,zero_shot",
            "--protocol zero_shot: simclr reads no reports",
        ),
        ("--checkpoint IGCL --protocol UNKNOWN", "no training report had any word of the prompt 'zyx qwv .' for Edema"),
        (
            "--checkpoint IGCL --protocol LACKING",
            "no prompts for Pleural Effusion: add a line for each",
        ),
        ("--checkpoint IGCL --protocol NOWHERE", "none.tsv: no file of prompts that can be read"),
        ("--checkpoint IGCL --checkpoint igcl=IGCL", "two encoders are called 'igcl'"),
        ("--checkpoint igcl:1=IGCL --checkpoint igcl:1=IGCL", "two encoders are called 'igcl-1'"),
        ("--checkpoint igcl:1=IGCL --checkpoint igcl=IGCL", "one 'igcl' has a seed, and another has none"),
        ("--checkpoint igcl:x=IGCL", "'x' is no seed, a whole number from 0 to 4294967295"),
        ("--checkpoint store=IGCL", "'store' is the name of something else in --out"),
        ("--checkpoint random=IGCL", "'random' is the name of a baseline"),
        ("--checkpoint $=IGCL", "'$' is not a name of letters, digits, spaces and . , + - % _"),
        ("--checkpoint missing.ckpt", "missing.ckpt: no such checkpoint"),
        ("--encoder missing.parquet", "missing.parquet: no such file"),
        ("--encoder LACKS", "lacks.parquet: lacks the features of "),
        ("--checkpoint table.md=IGCL", "'table.md' is the name of something else in --out"),
        ("--checkpoint IGCL --protocol LIST", "protocol: ['linear'], did you mean linear?"),
        ("--checkpoint IGCL --protocol TWICE", "protocol few_shot: labels are Edema, Edema: one is given twice"),
        ("--checkpoint IGCL --protocol CLOSE", "fractions are [0.5, 0.5000001]: one is given twice"),
        ("--checkpoint IGCL --protocol SCORE", "protocol hard_negatives: igcl has no score 'local'"),
        (
            "--checkpoint IGCL --protocol NOSCORE",
            "retrieval: score 'cosine' is not one of global, local, both",
        ),
        ("--checkpoint IGCL --out OTHER_RUN", "holds an evaluation with --fast, which would be lost"),
        ("--encoder timm:resnet18x", "timm has no model 'resnet18x'"),
        ("--protocol linear", "nothing to compare: give --checkpoint, --encoder, or a --table with rows"),
        (
            "--checkpoint IGCL --protocol liner",
            "--protocol: no protocol 'liner', did you mean linear?",
        ),
        ("--checkpoint IGCL --protocol none.yaml", "--protocol none.yaml: no such file or shipped config"),
        ("--checkpoint IGCL --protocol KIND", "protocol: 'linea', did you mean linear?"),
        ("--checkpoint IGCL --protocol OPTION", "fraction: unknown option, did you mean fractions?"),
        ("--checkpoint IGCL --protocol linear,OTHER", "two protocols are linear; evaluate them into different folders"),
        (
            "--checkpoint IGCL --protocol SPLIT",
            "has no split 'tset' for the protocol retrieval, only",
        ),
        ("--checkpoint IGCL --protocol DRAWS", "protocol linear: draws is 0, not at least 1"),
        ("--checkpoint IGCL --protocol EPOCHS --baselines supervised", "supervised_epochs are [1], not 2 numbers"),
        ("--checkpoint IGCL --baselines nothing", "--baselines: 'nothing' is not one of random, supervised"),
        ("--checkpoint IGCL --train igcl", "--train pretrains on phantoms only"),
        ("--checkpoint IGCL --seed 1", "--seed is the seed of pretraining, and nothing is pretrained here"),
        ("--checkpoint IGCL --labels Edma", "--labels: no label 'Edma', did you mean Edema?"),
        ("--checkpoint IGCL --jobs 0", "--jobs is 0, not at least 1"),
        ("--checkpoint IGCL --out FULL", "not empty and not an earlier evaluation; choose another --out"),
        ("--checkpoint IGCL --table none.yaml", "--table none.yaml: no such file or shipped config"),
        ("--checkpoint IGCL --import no_such_module", "--import no_such_module: no such module"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(words, message, checkpoints, phantom_store, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / ".evaluation").write_text('{"fast": true}')
    pd.DataFrame({"row": ["none"], "feature": [[1.0]]}).to_parquet(tmp_path / "lacks.parquet")
    (tmp_path / "unknown.tsv").write_text("Edema\t[zyx] [qwv]\n")
    (tmp_path / "lacking.tsv").write_text("Edema\t[edema]\n")
    files = {
        "UNKNOWN": {"protocol": "zero_shot", "labels": ["Edema"], "prompts": str(tmp_path / "unknown.tsv")},
        "LACKING": {"protocol": "zero_shot", "labels": LABELS, "prompts": str(tmp_path / "lacking.tsv")},
        "NOWHERE": {"protocol": "zero_shot", "prompts": str(tmp_path / "none.tsv")},
        "KIND": {"protocol": "linea"},
        "OPTION": {"protocol": "linear", "fraction": [1.0]},
        "OTHER": LINEAR,
        "SPLIT": {"protocol": "retrieval", "splits": ["tset"]},
        "LIST": {"protocol": ["linear"]},
        "TWICE": {"protocol": "few_shot", "labels": ["Edema", "Edema"]},
        "CLOSE": {"protocol": "linear", "fractions": [0.5, 0.5000001]},
        "SCORE": {"protocol": "hard_negatives", "score": "local"},
        "NOSCORE": {"protocol": "retrieval", "score": "cosine"},
        "DRAWS": {"protocol": "linear", "draws": 0},
        "EPOCHS": {"protocol": "linear", "fractions": [0.1, 1.0], "supervised_epochs": [1]},
    }
    known = {"IGCL": checkpoints["igcl:1"], "SIMCLR": checkpoints["simclr:1"], "FULL": str(tmp_path / "full")}
    known |= {"LACKS": str(tmp_path / "lacks.parquet"), "OTHER_RUN": str(tmp_path / "fast")}
    for name, content in files.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        known[name] = str(path)
    given = []
    for word in words.split():
        start, sign, end = word.rpartition("=")
        start, sign, end = (start, sign, end) if sign else word.rpartition(",")
        given.append(start + sign + known.get(end, end))
    given = given if "--out" in given else [*given, "--out", str(tmp_path / "out")]
    status, line = error([*given, "--store", str(phantom_store)], capsys)
    assert status in (1, 2)
    assert message in line
    assert not list(tmp_path.glob("out/*/*")), "nothing is measured"


def test_a_store_that_cannot_be_asked_is_one_line(checkpoints, phantom_store, tmp_path, capsys):
    """Without labels; without reports; with one image of each patient."""
    words = ["prepare", "folder", "--root", str(tmp_path / "images"), "--out", str(tmp_path / "store")]
    (tmp_path / "images").mkdir()
    for number in range(12):
        Image.new("L", (32, 32), number).save(tmp_path / "images" / f"{number}.png")
    assert main([*words, "--size", "32"]) in (0, None)
    store = Store(tmp_path / "store")
    protocol = tmp_path / "any.yaml"
    for kind, message in {
        "linear": "has no labels for the protocol linear",
        "zero_shot": "has no labels for the protocol zero_shot",
        "retrieval": "has a report; nothing to retrieve",
        "hard_negatives": "0 patients of train have reports that state different things",
    }.items():
        protocol.write_text(yaml.safe_dump({"protocol": kind, "splits": store.splits[:1]}))
        given = ["--protocol", str(protocol), "--store", str(store.path), "--out", str(tmp_path / "out")]
        status, line = error([*given, "--checkpoint", checkpoints["igcl:1"]], capsys)
        assert status == 1
        assert message in line, kind


def test_what_the_cells_do_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    """In a terminal at once, otherwise now and then; nothing with --quiet."""
    line = cells._StatusLine()
    line.show(["a: epoch 1 of 2"])
    assert not capsys.readouterr().err
    line._at -= 2 * cells.TOLD_EVERY
    line.show(["a: epoch 1 of 2", "b: linear"])
    line.show(["a: epoch 2 of 2"])
    assert capsys.readouterr().err == "a: epoch 1 of 2; b: linear\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    line.show(["a: epoch 2 of 2"])
    line.clear()
    said = capsys.readouterr().err
    assert said.index("a: epoch 2 of 2") < said.rindex("\r")
    monkeypatch.setenv("IGCL_QUIET", "1")
    line.show(["a: epoch 3 of 3"])
    assert not capsys.readouterr().err
