"""Neural nets for class-imbalanced data: `class_weight` and `sampling` as scikit-learn hyperparameters."""

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._losses.row_losses import (
    AsymmetricLoss,
    FocalLoss,
    LabelSmoothingLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    VSLoss,
)
from imbalanced_torch._net.module import MLP
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._prediction.prediction import UncorrectedDecisionWarning
from imbalanced_torch._prediction.prior import estimate_prior
from imbalanced_torch._remedies.class_weight import EffectiveNumber
from imbalanced_torch._remedies.plan import CombinedRemedyWarning
from imbalanced_torch._remedies.sampling import BalancedBatches, OverSampling, TemperedSampling, UnderSampling
from imbalanced_torch._remedies.schedule import DeferredSchedule, HeadRetraining, ProgressiveSchedule
from imbalanced_torch._tuned_offset import TunedOffsetClassifierCV
from imbalanced_torch._version import __version__ as __version__

__all__ = [
    "AsymmetricLoss",
    "BalancedBatches",
    "CombinedRemedyWarning",
    "DeferredSchedule",
    "EffectiveNumber",
    "FocalLoss",
    "HeadRetraining",
    "ImbalancedNet",
    "ImbalancedNetClassifier",
    "LDAMLoss",
    "LabelSmoothingLoss",
    "LogitAdjustedLoss",
    "MLP",
    "OverSampling",
    "ProgressiveSchedule",
    "TemperedSampling",
    "TunedOffsetClassifierCV",
    "UncorrectedDecisionWarning",
    "UnderSampling",
    "VSLoss",
    "estimate_prior",
]
