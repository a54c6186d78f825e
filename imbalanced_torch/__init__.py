"""Neural nets for class-imbalanced data: `class_weight` and `sampling` as scikit-learn hyperparameters."""

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._comparison.comparison import StrategyComparison, compare_strategies
from imbalanced_torch._displays.calibration_comparison import CalibrationComparisonDisplay
from imbalanced_torch._displays.class_balance import ClassBalanceDisplay
from imbalanced_torch._displays.decision_tradeoff import DecisionTradeoffDisplay
from imbalanced_torch._displays.strategy_comparison import StrategyComparisonDisplay
from imbalanced_torch._displays.training_curve import TrainingCurveDisplay
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._losses.focal_losses import AsymmetricLoss, FocalLoss
from imbalanced_torch._losses.margin_losses import LDAMLoss, LogitAdjustedLoss, VSLoss
from imbalanced_torch._losses.row_loss import RowLoss
from imbalanced_torch._losses.smoothing_loss import LabelSmoothingLoss
from imbalanced_torch._net.module import MLP
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._persistence.training_checkpoint import TrainingCheckpoint
from imbalanced_torch._prediction.goals import PrecisionFloor, RecallFloor, UncertainDecisionWarning
from imbalanced_torch._prediction.prediction import UncorrectedDecisionWarning
from imbalanced_torch._prediction.prior import estimate_prior
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.class_weight import EffectiveNumber
from imbalanced_torch._remedies.plan import CombinedRemedyWarning
from imbalanced_torch._remedies.row_streams import Cycle, Draws, Passes, RowsByClass, RowStream
from imbalanced_torch._remedies.sampling import (
    BalancedBatches,
    OverSampling,
    SamplingStrategy,
    TemperedSampling,
    UnderSampling,
)
from imbalanced_torch._remedies.schedule import DeferredSchedule, HeadRetraining, ProgressiveSchedule, Schedule
from imbalanced_torch._show_versions import show_versions
from imbalanced_torch._tuned_offset import TunedOffsetClassifierCV
from imbalanced_torch._version import __version__ as __version__

__all__ = [
    "AsymmetricLoss",
    "BalancedBatches",
    "CalibrationComparisonDisplay",
    "ClassBalanceDisplay",
    "ClassPriors",
    "CombinedRemedyWarning",
    "Cycle",
    "DecisionTradeoffDisplay",
    "DeferredSchedule",
    "Draws",
    "EffectiveNumber",
    "FocalLoss",
    "HeadRetraining",
    "ImbalancedNet",
    "ImbalancedNetClassifier",
    "LDAMLoss",
    "LabelSmoothingLoss",
    "LogitAdjustedLoss",
    "MLP",
    "MLPEnsemble",
    "OverSampling",
    "Passes",
    "PrecisionFloor",
    "ProgressiveSchedule",
    "RecallFloor",
    "RowLoss",
    "RowStream",
    "RowsByClass",
    "SamplingStrategy",
    "Schedule",
    "StrategyComparison",
    "StrategyComparisonDisplay",
    "TemperedSampling",
    "TrainingCheckpoint",
    "TrainingCurveDisplay",
    "TunedOffsetClassifierCV",
    "UncertainDecisionWarning",
    "UncorrectedDecisionWarning",
    "UnderSampling",
    "VSLoss",
    "compare_strategies",
    "estimate_prior",
    "show_versions",
]
