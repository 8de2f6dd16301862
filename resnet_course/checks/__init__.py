"""Feedback while learning: what is right and what is wrong in a block or network of one's own, one line a property.

>>> from resnet_lib.blocks import Residual
>>> check_residual(Residual).ok
True

A check returns a `Report`, which shows itself as the last expression of a cell; elsewhere, print it. No check raises,
prints, changes a model or moves the random state: whatever the learner's code does becomes a line.
"""

from resnet_course.checks.blocks import check_basic_block, check_bottleneck, check_residual
from resnet_course.checks.by_hand import check_output_sizes, check_parameter_count
from resnet_course.checks.folding import check_fold_batchnorm
from resnet_course.checks.networks import check_cifar_form, check_resnet
from resnet_course.checks.report import Report
from resnet_course.checks.stage import check_make_layer
from resnet_course.checks.training import check_training

__all__ = [
    "Report",
    "check_basic_block",
    "check_bottleneck",
    "check_cifar_form",
    "check_fold_batchnorm",
    "check_make_layer",
    "check_output_sizes",
    "check_parameter_count",
    "check_residual",
    "check_resnet",
    "check_training",
]
