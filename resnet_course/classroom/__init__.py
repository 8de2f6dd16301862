"""The classroom: the assignment as a student has it, and the report on a class."""

from resnet_course.classroom.assignment import (
    Drawing,
    Refusal,
    Variant,
    is_unedited,
    look_at,
    pack_submission,
    public_tests,
    records_folder,
    require,
    require_measured,
    restrict,
    variant,
)
from resnet_course.classroom.class_report import make_class_report

__all__ = [
    "Drawing",
    "Refusal",
    "Variant",
    "is_unedited",
    "look_at",
    "make_class_report",
    "pack_submission",
    "public_tests",
    "records_folder",
    "require",
    "require_measured",
    "restrict",
    "variant",
]
