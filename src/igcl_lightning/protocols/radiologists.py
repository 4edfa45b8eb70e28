"""`igcl evaluate --radiologists`: readers by their answers, models by AUROC, and checkpoints against each reader.

OUT/results.json, table.md       records, and their tables with all labels
OUT/predictions.parquet          scores of models, a line per study and label
OUT/plots/roc_readers.png        ROC curves with the readers' operating points
OUT/report.html                  all of it to look at
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from igcl_lightning.atomic import replacing
from igcl_lightning.closing import say
from igcl_lightning.data.sources.readings import mean_labels, read_readings
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.curves import operating_points
from igcl_lightning.evaluation.operating_points import (
    AUROC,
    Cases,
    Given,
    answers_at,
    auroc_records,
    difference_records,
    operating_records,
    remarks,
    tables,
)
from igcl_lightning.evaluation.page_tables import Table, labels_table, with_points
from igcl_lightning.evaluation.predictions import SCHEMA, write_predictions
from igcl_lightning.evaluation.report_page import Drawing, Section, page_sections
from igcl_lightning.evaluation.results import MEAN_LABEL, Record, write_results
from igcl_lightning.evaluation.roc_plot import plot_roc_readers
from igcl_lightning.evaluation.tables import aligned, as_markdown
from igcl_lightning.metrics.operating import choose_threshold
from igcl_lightning.protocols.contestants import PAGE
from igcl_lightning.protocols.evaluation_page import write_sections
from igcl_lightning.protocols.run_record import RunRecord, run_record

PROTOCOL = "radiologists"
SPLIT = "test"

BY = "mcc"
"""What chooses the threshold of each label on validation studies."""

FEW_CHOSEN = 10
"""Positive validation studies below which a threshold is named as one of few."""

RESULTS, TABLE, PREDICTIONS, PLOT = "results.json", "table.md", "predictions.parquet", "plots/roc_readers.png"
FILES = RESULTS, TABLE, PREDICTIONS, PLOT, PAGE
MARKER = ".radiologists"


@dataclass(frozen=True)
class Request:
    """What to compare; the attributes are the options of `igcl evaluate`.

    Attributes:
        radiologists: folder of the ground truth, of readers' answers and of models' scores.
        out: folder of the results.
        checkpoints: models, as [NAME=]CKPT.
        store: prepared store with the images of the same studies, for the checkpoints.
        words: words of the command line, for the page.
    """

    radiologists: Path
    out: Path
    checkpoints: Sequence[str] = ()
    store: Path | None = None
    words: Sequence[str] = ()


@dataclass
class _Compared:
    """What is compared: rows, readers, models with scores, those of them with answers, and what is to be said."""

    cases: Cases
    studies: list[str]
    readers: list[Given]
    models: list[Given]
    answers: list[Given] = field(default_factory=list)
    valid: list[pd.DataFrame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_with_radiologists(request: Request) -> None:
    """Write the records, tables and plot of readers and models, and print the tables.

    Raises:
        IgclError: a file or a checkpoint cannot be used (`readings.read_readings`, `study_scores`), or the folder of
            the results holds others.
    """
    _refuse_other_results(request.out)
    readings = read_readings(request.radiologists)
    labels, patients = readings.labels, np.array(readings.patients, dtype=object)
    readers, models = ([Given(*each) for each in named.items()] for named in (readings.readers, readings.models))
    cases = Cases(labels, mean_labels(labels), patients, readings.truth)
    compared = _Compared(cases, readings.studies, readers, models, notes=readings.notes)
    if request.checkpoints:
        assert request.store is not None
        _score(compared, request.checkpoints, request.store, readings.path)
    if unnamed := int(np.sum(compared.cases.patients == np.array(compared.studies, dtype=object))):
        compared.notes.append(f"studies whose ids name no patient, each taken as one of its own: {unnamed:,}")
    records = _records(compared, (request.store or request.radiologists).resolve().name)
    shown = compared.cases.in_mean
    further = [*remarks(records, shown), *compared.notes]
    lines = [*_caption(compared.cases, readings.path), *further]
    told = [*_caption(compared.cases, Path(readings.path.name)), *further]  # tables and pages are passed on
    _write(request.out, compared, records, told)
    stores = {} if request.store is None else {PROTOCOL: request.store}
    _write_page(request.out, compared, records, told, run_record(request.words, [], [], stores))
    if others := [label for label in labels if label not in shown]:
        lines.append(f"{TABLE} also has {', '.join(others)}")
    say("\n".join([*lines, *(f"\n{title}\n{aligned(rows)}" for title, rows in tables(records, shown))]))
    say("")


def _score(compared: _Compared, checkpoints: Sequence[str], store_path: Path, truth: Path) -> None:
    """Add scores and answers of checkpoints on the studies of a store, and patients as the store knows them."""
    from igcl_lightning.data.store import Store
    from igcl_lightning.protocols.study_scores import by_study, choices, find_studies, load_models, study_scores

    store, studies, cases = Store(store_path), compared.studies, compared.cases
    patients = find_studies(store, studies, truth)
    known = [patients.get(study, own) for study, own in zip(studies, cases.patients, strict=True)]
    compared.cases = Cases(cases.labels, cases.in_mean, np.array(known, dtype=object), cases.target)
    models = load_models(checkpoints, store, cases.labels, set(studies))
    names = Counter([*(given.name for given in (*compared.readers, *compared.models)), *(each.name for each in models)])
    if taken := [model.name for model in models if names[model.name] > 1]:
        raise IgclError(f"--checkpoint: {taken[0]!r} is the name of another reader or model; give NAME=CKPT")
    scored = []
    for model in models:
        frame = study_scores(model, store)
        score = by_study(frame, studies, cases.labels)
        chosen = choices(frame)
        thresholds = {label: _threshold(*chosen[label]) for label in cases.labels if label in chosen}
        scored.append(Given(model.name, score))
        compared.answers.append(Given(model.name, answers_at(score, cases.labels, thresholds), thresholds))
        compared.valid.append(_lines(model.name, frame[(frame["split"] != SPLIT) & frame["label"].isin(cases.labels)]))
        compared.notes += _said(model.name, score, cases, chosen)
    compared.models = [*scored, *compared.models]


def _threshold(score: np.ndarray, target: np.ndarray) -> float:
    """Return the threshold of a label; the largest number if it is best to call no study positive."""
    return float(min(choose_threshold(score, target, BY), np.finfo(float).max))


def _said(name: str, score: np.ndarray, cases: Cases, chosen: Mapping[str, Any]) -> list[str]:
    """Return lines on the studies and labels that a model scores, and on its thresholds."""
    scored = [label for label, column in zip(cases.labels, score.T, strict=True) if not np.isnan(column).all()]
    lines = []
    if lacking := [label for label in cases.in_mean if label not in scored]:
        lines.append(f"{name}: does not score {', '.join(lacking)}")
    if missing := int(np.isnan(score).all(axis=1).sum()):
        lines.append(f"{name}: studies without an image in the store: {missing:,} of {len(score):,}; the others count")
    if lacking := [label for label in scored if label not in chosen]:
        lines.append(f"{name}: no threshold, one class only among the validation studies: {', '.join(lacking)}")
    positives = {label: int(chosen[label][1].sum()) for label in scored if label in chosen}
    if positives:
        number = max(len(chosen[label][1]) for label in positives)
        few = [f"{label} {each}" for label, each in positives.items() if each < FEW_CHOSEN]
        only = f", few of them positive: {', '.join(few)}" if few else ""
        lines.append(f"{name}: thresholds have the best MCC on {number:,} validation studies{only}")
    return lines


def _records(compared: _Compared, store: str) -> list[Record]:
    """Return the AUROC of models, the operating points of readers and answers, and the differences of these."""
    cases, about = compared.cases, {"protocol": PROTOCOL, "store": store, "split": SPLIT}
    records = [record for each in compared.models for record in auroc_records(cases, each, **about)]
    for each in (*compared.readers, *compared.answers):
        records += operating_records(cases, each, **about)
    for each in compared.answers:
        for reader in compared.readers:
            records += difference_records(cases, each, reader, **about)
    return records


def _caption(cases: Cases, truth: Path) -> list[str]:
    """Return lines on the rows, and on how many are positive."""
    positives = dict(zip(cases.labels, (cases.target == 1).sum(axis=0), strict=True))
    patients = len(set(cases.patients))
    return [
        f"{len(cases.target):,} studies of {patients:,} patients, {truth} [95 % interval over patients]",
        f"positives: {', '.join(f'{label} {positives[label]:,}' for label in cases.in_mean)}",
    ]


def _refuse_other_results(out: Path) -> None:
    if not (out / MARKER).is_file() and any((out / name).exists() for name in FILES):
        raise IgclError(f"{out}: holds the results of something else; choose another --out")


def _write(out: Path, compared: _Compared, records: Sequence[Record], lines: Sequence[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    for name in FILES:
        (out / name).unlink(missing_ok=True)  # what is not written now would be of other files
    cases = compared.cases
    write_results(records, out / RESULTS)
    with replacing(out / TABLE) as temporary:
        parts = (f"**{title}**\n\n{as_markdown(rows)}" for title, rows in tables(records, cases.labels))
        temporary.write_text("\n".join([*(f"{line}\n" for line in lines), *parts]), encoding="utf-8")
    if compared.models:
        write_predictions(pd.concat([*_scored_lines(compared), *compared.valid]), out / PREDICTIONS)


def _write_page(
    out: Path, compared: _Compared, records: Sequence[Record], lines: Sequence[str], run: RunRecord
) -> None:
    """Write the page, with the tables of the main labels, the ROC curves and the differences, and its figures."""
    shown = compared.cases.in_mean
    sections = [Section("readers", "Readers and models", lines, [Table(*each) for each in tables(records, shown)])]
    if compared.models:
        sections.append(Section("roc", "ROC curves", drawings=[_roc(compared, records)]))
    labels = {*shown, MEAN_LABEL}
    main = [record for record in records if record["label"] in labels]
    sections += [section for section in page_sections(main, {}, SPLIT) if section.id == "differences"]
    names = [each.name for each in (*compared.models, *compared.readers)]
    write_sections(out, f"Readers and models: {', '.join(names)}", "", sections, run)


def _roc(compared: _Compared, records: Sequence[Record]) -> Drawing:
    shown = compared.cases.in_mean
    figure = plot_roc_readers(compared.cases, compared.models, records, shown)
    scores = [each for each in records if each["metric"] == AUROC and each["label"] in shown]
    points = operating_points(records, SPLIT)
    rows = with_points(labels_table("", scores).rows, points)
    table = Table("AUROC of models; sensitivity, specificity of readers and of models with thresholds", rows)
    caption = "Points are answers: of readers, and of models at their thresholds, with 95 % intervals over patients."
    return Drawing(Path(PLOT).stem, "ROC curves with the readers' operating points", figure, caption, table)


def _scored_lines(compared: _Compared) -> list[pd.DataFrame]:
    """Return the lines of `predictions.parquet` on the studies that all models score, as its readers need them."""
    cases = compared.cases
    whole = np.ones(len(cases.target), dtype=bool)
    for model in compared.models:
        lacking = np.isnan(model.value) & ~np.isnan(model.value).all(axis=0)
        whole &= ~(lacking & ~np.isnan(cases.target)).any(axis=1)
    frames = []
    rows = {"study": np.array(compared.studies, dtype=object), "patient": cases.patients, "split": SPLIT}
    for model in compared.models:
        for place, label in enumerate(cases.labels):
            own = whole & ~np.isnan(model.value[:, place])
            line = pd.DataFrame(rows).assign(label=label, target=cases.target[:, place], score=model.value[:, place])
            frames.append(_lines(model.name, line[own]))
    return frames


def _lines(method: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return lines of `predictions.parquet` of one method from study, patient, split, label, target and score."""
    one = {"method": method, "fraction": None, "shots": None, "row": frame["study"], "seed": 0}
    lines: pd.DataFrame = frame.assign(**one)[SCHEMA.names]
    return lines
