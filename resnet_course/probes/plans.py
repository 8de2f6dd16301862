"""Which units the measurements of `resnet_course.probes.measurements` take, the most important ones first."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from resnet_course.probes import measurements
from resnet_course.probes.sweeps import SEEDS, Plan, Row, Unit, next_units, rates
from resnet_course.probes.variants import KINDS
from resnet_lib.orderings import ORDERINGS

JUDGED = KINDS[:6]  # those that a verdict names are tried with a second budget and at other widths
# Dose and response: the noise of a start near the identity, and the slope of a leaky ReLU.
DOSES = (
    *("plain, near identity 1.0", "plain, near identity 0.3", "plain, leaky 0.3"),
    *("plain, near identity 0.5", "plain, leaky 0.6"),
    *("plain, no BN, near identity 1.0", "plain, no BN, near identity 0.3"),
)


def plan_sweeps(rows: list[Row]) -> list[Unit]:
    """The runs of the sweeps, as far as ``rows`` tell, the most important ones first."""

    def network(kind: str, width: int = 8, epochs: int = 10) -> Unit:
        return {"kind": kind, "depth": 56, "width": width, "epochs": epochs}

    sweeps = [
        *((network(kind), rates(0.002, 1)) for kind in JUDGED),
        *((network(kind), rates(0.02, 0.1)) for kind in DOSES[:5]),
        *((network(kind), rates(0.002, 1)) for kind in KINDS[6:10]),
        *((network(kind, epochs=40), rates(0.01, 0.5)) for kind in JUDGED),
        *((network(kind), rates(0.005, 0.02)) for kind in DOSES[5:]),
        *((network(kind), rates(0.002, 1)) for kind in KINDS[10:]),
        *((network(kind, width=width), rates(0.01, 0.5)) for width in (16, 32) for kind in JUDGED),
    ]
    return [unit for net, start in sweeps for unit in next_units(rows, net, start, (1e-5, 5))]


def plan_even_steps(rows: list[Row]) -> list[Unit]:
    networks = [{"kind": kind, "depth": 56} for kind in ("plain", "residual", "plain, near identity")]
    return [unit for net in networks for unit in next_units(rows, net, [1e-4, 5e-4, 2e-3, 1e-2], (1e-6, 1))]


def plan_identity(rows: list[Row]) -> list[Unit]:
    """All stacks for 300 steps, and a plain one for three times as many."""
    budgets = _grid(steps=[300], shortcut=["none", "A"], blocks=[1, 2, 4])
    budgets += _grid(steps=[900], shortcut=["none"], blocks=[2])
    return [unit for net in budgets for unit in next_units(rows, net, rates(0.1, 0.5), (1e-3, 50))]


def _grid(**choices: Iterable[Any]) -> list[Unit]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


BOTH = ["plain", "residual"]
_TRAINED = _grid(depth=[56, 20], seed=SEEDS, kind=BOTH, lr=[0.1])
_TRAINED += _grid(depth=[56], seed=SEEDS, kind=["plain, near identity"], lr=[0.05])
_ORDERINGS = [
    *_grid(depth=[110], seed=SEEDS, ordering=list(ORDERINGS), lr=[0.1, 0.02]),
    *_grid(depth=[56, 164], seed=SEEDS, ordering=["original", "full pre-activation"], lr=[0.1, 0.02]),
]
_CONTROLS = ["projections, identity start", "projections, bare", "projections, bare, identity start"]
_AT_BEST = [("plain", 1.0), ("plain, near identity", 0.05), ("residual", 0.02), ("residual, no BN, scaled", 0.2)]
_BESIDE = [("residual", 0.5), ("residual, no BN, scaled", 0.1), ("residual, no BN, scaled", 0.5)]
# By name: the function, and the units that it is called with.
MEASUREMENTS: dict[str, tuple[Callable[..., dict[str, Any]], list[Unit] | Plan]] = {
    "starts": (measurements.measure_start, _grid(seed=SEEDS, kind=KINDS, depth=[56])),
    "sweeps": (measurements.measure_sweep, plan_sweeps),
    "seeds": (  # ten, where three have decided a verdict
        measurements.measure_training,
        [{"kind": kind, "lr": lr, "seed": n, "depth": 56} for n in range(10) for kind, lr in [*_AT_BEST, *_BESIDE]],
    ),
    "projections": (
        measurements.measure_training,
        _grid(kind=_CONTROLS, lr=[0.005, 0.02, 0.1, 0.5, 1.0], seed=SEEDS, depth=[56]),
    ),
    "trained": (measurements.measure_trained, _TRAINED),
    "ways": (measurements.measure_ways, [unit for unit in _TRAINED if unit["kind"] == "residual"]),
    "even_steps": (measurements.measure_even_steps, plan_even_steps),
    "orderings": (measurements.measure_ordering, _ORDERINGS),
    "lesions": (measurements.measure_lesions, _grid(seed=SEEDS, kind=BOTH, depth=[20])),
    "identity": (measurements.measure_identity, plan_identity),
}
