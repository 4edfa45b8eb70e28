"""Stores of made-up studies, for tests."""

from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.sources.source import Source


def prepare_studies(studies, out, *, labels=(), extra=(), arrays=(), boxes=False, masks=False, **how):
    named = {"labels": tuple(labels), "extra": tuple(extra), "arrays": tuple(arrays)}
    return prepare(Source.of(studies, **named, boxes=boxes, masks=masks), out, **how)
