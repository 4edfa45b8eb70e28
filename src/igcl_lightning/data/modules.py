"""Data modules: from a store to batches on the device. Importing this module lets YAML name every class alone."""

from igcl_lightning.data.labeled_module import LabeledDataModule
from igcl_lightning.data.paired_module import PairedDataModule
from igcl_lightning.data.segmentation_module import SegmentationDataModule

__all__ = ["LabeledDataModule", "PairedDataModule", "SegmentationDataModule"]
