"""Lightning modules. Importing this package lets YAML name every class without its module."""

from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import ContrastiveModule, PretrainOptimOptions
from igcl_lightning.modules.convirt import ConVIRT
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.modules.gloria import GLoRIA
from igcl_lightning.modules.igcl import IGCL
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.matching import MatchingModule
from igcl_lightning.modules.reclf import RECLF
from igcl_lightning.modules.segmentation import Segmentation
from igcl_lightning.modules.simclr import SimCLR
from igcl_lightning.modules.zero_shot import ZeroShot

__all__ = [
    "IGCL",
    "RECLF",
    "BaseModule",
    "ConVIRT",
    "ContrastiveModule",
    "FewShotProbe",
    "FineTune",
    "GLoRIA",
    "LinearProbe",
    "MatchingModule",
    "PretrainOptimOptions",
    "Segmentation",
    "SimCLR",
    "ZeroShot",
]
