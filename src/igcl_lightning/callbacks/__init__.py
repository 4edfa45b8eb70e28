"""Callbacks: plots and metrics during training, and the files that evaluation reads."""

from igcl_lightning.callbacks.collapse_monitor import CollapseMonitor
from igcl_lightning.callbacks.ema import EMA
from igcl_lightning.callbacks.embedding_map import EmbeddingMap
from igcl_lightning.callbacks.final_probe import FinalProbe
from igcl_lightning.callbacks.learning_curve import LearningCurve
from igcl_lightning.callbacks.mask_sheet import MaskSheet
from igcl_lightning.callbacks.matching_sheet import MatchingSheet
from igcl_lightning.callbacks.online_probe import OnlineProbe
from igcl_lightning.callbacks.outputs import WriteEmbeddings, WriteMatchings, WritePredictions
from igcl_lightning.callbacks.prompts import WritePrompts
from igcl_lightning.callbacks.retrieval_sheet import RetrievalSheet
from igcl_lightning.callbacks.segmentation import WriteSegmentation
from igcl_lightning.callbacks.throughput import Throughput

__all__ = [
    "EMA",
    "CollapseMonitor",
    "EmbeddingMap",
    "FinalProbe",
    "LearningCurve",
    "MaskSheet",
    "MatchingSheet",
    "OnlineProbe",
    "RetrievalSheet",
    "Throughput",
    "WriteEmbeddings",
    "WriteMatchings",
    "WritePredictions",
    "WritePrompts",
    "WriteSegmentation",
]
