"""Look inside a network: gradients, responses, lesions, paths, the loss around the weights.

A probe takes a network and images and returns numbers. It leaves the network as it is, unless it says otherwise.
`record` runs the measurements that take longer than a page of chapter 9 or 10 can wait, and keeps them as JSON files.
"""

from resnet_course.probes.gradients import (
    autocorrelation,
    brown_noise,
    freeze_batchnorm,
    gradient_agreement,
    gradient_norms,
    input_gradients,
    mean_cosine,
    points_on_line,
    weight_layers,
    white_noise,
)
from resnet_course.probes.identity import identity_error, learn_identity
from resnet_course.probes.kinds import KINDS, build_kind
from resnet_course.probes.landscape import filter_normalised_direction, loss_surface
from resnet_course.probes.lesions import (
    choose_blocks,
    lesion,
    lesion_table,
    removable_blocks,
    swap_blocks,
)
from resnet_course.probes.line import LineNet
from resnet_course.probes.measurements import MEASUREMENTS
from resnet_course.probes.paths import gradient_by_path_length, path_gradient, path_length_distribution
from resnet_course.probes.recording import load_record, record, record_all
from resnet_course.probes.responses import branch_shares, response_std
from resnet_course.probes.variants import (
    Scale,
    blocks_of,
    insert_zero_blocks,
    remove_batchnorm,
    scale_branches,
    scale_to_unit_responses,
    start_near_identity,
)

__all__ = [
    "KINDS",
    "MEASUREMENTS",
    "LineNet",
    "Scale",
    "autocorrelation",
    "blocks_of",
    "branch_shares",
    "brown_noise",
    "build_kind",
    "choose_blocks",
    "filter_normalised_direction",
    "freeze_batchnorm",
    "gradient_agreement",
    "gradient_by_path_length",
    "gradient_norms",
    "identity_error",
    "input_gradients",
    "insert_zero_blocks",
    "learn_identity",
    "lesion",
    "lesion_table",
    "load_record",
    "loss_surface",
    "mean_cosine",
    "path_gradient",
    "path_length_distribution",
    "points_on_line",
    "record",
    "record_all",
    "removable_blocks",
    "remove_batchnorm",
    "response_std",
    "scale_branches",
    "scale_to_unit_responses",
    "start_near_identity",
    "swap_blocks",
    "weight_layers",
    "white_noise",
]
