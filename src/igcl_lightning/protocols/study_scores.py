"""Scores of a checkpoint on studies, as readers see them: the highest of a study's images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.sources.readings import study_id
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import checked
from igcl_lightning.graphs.prompts import read_prompts
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.contrastive import contrasts_reports
from igcl_lightning.modules.zero_shot import ZeroShot
from igcl_lightning.protocols.contestants import Contestant, check_names, from_checkpoint
from igcl_lightning.protocols.hard_negatives import quiet_trainer

TEST, VALID = "test", "valid"


@dataclass(frozen=True, slots=True, eq=False)
class StudyModel:
    """A classifier, and what its thresholds are chosen on.

    Attributes:
        name: name of the results.
        module: the classifier.
        valid: its stored predictions of validation rows, where the store has no such rows.
    """

    name: str
    module: ClassifierModule
    valid: pd.DataFrame | None


def load_models(words: Sequence[str], store: Store, labels: Sequence[str], studies: Set[str]) -> list[StudyModel]:
    """Return the models of checkpoints, given as [NAME=]CKPT: trained heads, or models of reports by prompts.

    Args:
        words: checkpoints.
        store: store that they score.
        labels: labels that are wanted; those without prompts are left out for models of reports.
        studies: studies that are compared, on which no threshold may be chosen.

    Raises:
        IgclError: a checkpoint has no scores of any label, two have one name, or there are no validation rows to choose
            thresholds on, neither in the store nor among predictions in the checkpoint's run folder.
    """
    contestants = [from_checkpoint(word) for word in words]
    check_names(contestants)
    models = [_load(contestant, store, labels, studies) for contestant in contestants]
    for contestant, model in zip(contestants, models, strict=True):
        path = str(contestant.checkpoint)
        if not set(model.module.label_names or []) & set(labels):
            raise IgclError(f"{path}: scores none of the labels {', '.join(labels)}")
        if VALID not in store.splits and model.valid is None:
            raise IgclError(
                f"{store.path}: no split 'valid' to choose thresholds on, and no validation rows of this model in "
                f"{_predictions(path)}; thresholds are never chosen on test rows"
            )
    return models


def _load(contestant: Contestant, store: Store, labels: Sequence[str], studies: Set[str]) -> StudyModel:
    """Return the model of a checkpoint (see `load_models`)."""
    name, path = contestant.method, str(contestant.checkpoint)
    if contestant.seed is not None:
        raise IgclError(f"--checkpoint {contestant.title}: models are compared with readers one by one; give no seed")
    module = BaseModule.load_from_checkpoint(path, map_location="cpu")
    if isinstance(module, ClassifierModule) and module.label_names:
        name = module.method_name if name == type(module).__name__.lower() else name  # "igcl", not "linearprobe"
        return StudyModel(name, module, _stored(path, module, store, studies))
    if contrasts_reports(module):
        lines = read_prompts(None)
        prompted = [label for label in labels if any(line.is_of(label) for line in lines)]
        zero_shot = ZeroShot(path, name=name, label_names=prompted)
        zero_shot.refuse_unknown_words()
        return StudyModel(name, zero_shot, None)
    raise IgclError(
        f"{path}: {type(module).__name__} scores no labels and reads no reports; fit a probe on it with "
        "`igcl fit --config probe/linear.yaml`, and give that checkpoint"
    )


def find_studies(store: Store, studies: Collection[str], truth: Path) -> dict[str, str]:
    """Return the patient of each study that is among the test rows of a store, by id.

    Raises:
        IgclError: none is, or some are among the other rows.
    """
    of_split = {split: [study_id(each) for each in store.column(split, "study")] for split in store.splits}
    for split, ids in of_split.items():
        if split != TEST and (shared := sorted(set(ids) & set(studies))):
            raise IgclError(
                f"{store.path}: {len(shared):,} studies of {truth}, such as {shared[0]!r}, are in its split {split!r}, "
                "where models are trained and thresholds chosen"
            )
    named = store.column(TEST, "patient") if TEST in store.splits else []
    patients = dict(zip(of_split.get(TEST, []), named, strict=True))
    found = {study: str(patients[study]) for study in studies if study in patients}
    if not found:
        here, there = next(iter(patients), "none"), next(iter(studies))
        raise IgclError(f"{store.path}: none of its test studies, such as {here!r}, is in {truth}, such as {there!r}")
    return found


def study_scores(model: StudyModel, store: Store) -> pd.DataFrame:
    """Return a model's scores of validation and test studies, as `of_studies` does."""
    splits = [split for split in (VALID, TEST) if split in store.splits]
    views = (model.module.input_record or {}).get("views")
    labels = model.module.label_names
    data = LabeledDataModule(str(store.path), labels=labels, batch_size=256, views=views, predict_splits=splits)
    kept = KeepPredictions()
    quiet_trainer(kept).predict(model.module, data, return_predictions=False)
    parts = [kept.frame] if model.valid is None else [kept.frame, model.valid]
    return of_studies(pd.concat(parts, ignore_index=True))


def of_studies(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `split`, `study`, `patient`, `label`, `target` and `score` of studies from the predictions of images.

    The score of an image is the median over heads, that of a study the highest of its images (Irvin et al., AAAI 2019);
    a study has a label if one of its images has it.
    """
    keys = ["split", "study", "patient", "label"]
    frame = predictions.assign(study=predictions["study"].map(study_id))
    images = frame.groupby([*keys, "row"], as_index=False).agg({"target": "max", "score": "median"})
    studies: pd.DataFrame = images.groupby(keys, as_index=False).agg({"target": "max", "score": "max"})
    return studies


def _stored(path: str, module: ClassifierModule, store: Store, studies: Set[str]) -> pd.DataFrame | None:
    """Return predictions of validation rows in the run folder of a head's checkpoint; None if there are none.

    Raises:
        IgclError: they are of studies that are compared.
    """
    file = _predictions(path)
    if VALID in store.splits or not file.is_file():
        return None
    frame = checked(pd.read_parquet(file), str(file))
    rows = frame[(frame["split"] == VALID) & (frame["method"] == module.method_name)]
    if shared := sorted(set(rows["study"].map(study_id)) & studies):
        raise IgclError(f"{file}: {len(shared):,} of its validation studies are compared, such as {shared[0]!r}")
    return rows if len(rows) else None


def _predictions(path: str) -> Path:
    """Return the file of predictions in the run folder of a checkpoint."""
    return Path(path).absolute().parents[1] / "predictions.parquet"


def by_study(frame: pd.DataFrame, studies: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return the test scores of studies and labels, [N, L], NaN where there is none."""
    wide = frame[frame["split"] == TEST].pivot(index="study", columns="label", values="score")
    table: np.ndarray = wide.reindex(index=list(studies), columns=list(labels)).to_numpy(dtype=float)
    return table


def choices(frame: pd.DataFrame) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores and targets of the validation studies by label, where the target is known and both classes are."""
    rows = frame[(frame["split"] == VALID) & frame["target"].notna()]
    parts = {str(label): own for label, own in rows.groupby("label") if own["target"].nunique() == 2}
    return {label: (own["score"].to_numpy(), own["target"].to_numpy()) for label, own in parts.items()}
