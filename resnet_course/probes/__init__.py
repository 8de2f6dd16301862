"""Look inside a network: gradients, responses, lesions, paths, the loss around the weights.

A probe takes a network and images and returns numbers. It leaves the network as it is, unless it says otherwise.
`record_measurements` makes what takes longer than a page of chapter 9 or 10 can wait, and keeps it as JSON files.
"""

from resnet_course.probes.gradients import (
    LineNet,
    autocorrelation,
    freeze_batchnorm,
    gradient_norms,
    input_gradients,
    weight_layers,
)
from resnet_course.probes.landscape import filter_normalised_direction, loss_surface
from resnet_course.probes.lesions import choose_blocks, lesion, lesion_table, removable_blocks, swap_blocks
from resnet_course.probes.path_lengths import gradient_by_path_length, gradient_by_way
from resnet_course.probes.plans import MEASUREMENTS
from resnet_course.probes.recording import load_measurement, record_measurements
from resnet_course.probes.responses import branch_shares, dead_channels, response_std, signal_by_layer
from resnet_course.probes.sweeps import best_inside, best_rate, of_network
from resnet_course.probes.variants import blocks_of, build_kind, insert_zero_blocks

__all__ = [
    "MEASUREMENTS",
    "LineNet",
    "autocorrelation",
    "best_inside",
    "best_rate",
    "blocks_of",
    "branch_shares",
    "build_kind",
    "choose_blocks",
    "dead_channels",
    "filter_normalised_direction",
    "freeze_batchnorm",
    "gradient_by_path_length",
    "gradient_by_way",
    "gradient_norms",
    "input_gradients",
    "insert_zero_blocks",
    "lesion",
    "lesion_table",
    "load_measurement",
    "loss_surface",
    "of_network",
    "record_measurements",
    "removable_blocks",
    "response_std",
    "signal_by_layer",
    "swap_blocks",
    "weight_layers",
]
