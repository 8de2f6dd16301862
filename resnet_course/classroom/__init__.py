"""The classroom: the assignment, what students hand in, and the report on a class."""

from resnet_course.classroom.assignment import (
    Grading,
    Variant,
    describe_errors,
    drawn_heights,
    limit_cells,
    pack_submission,
    require,
    require_measured,
    restrict,
    shows_spread,
    variant,
)
from resnet_course.classroom.class_report import make_class_report

__all__ = [
    "Grading",
    "Variant",
    "describe_errors",
    "drawn_heights",
    "limit_cells",
    "make_class_report",
    "pack_submission",
    "require",
    "require_measured",
    "restrict",
    "shows_spread",
    "variant",
]
