"""What two runs of one recipe must have in common."""

import json
from dataclasses import asdict

from resnet_lib.records import Record

OF_THE_MACHINE = ("seconds", "images_per_second", "environment")


def figures(record: Record) -> str:
    """All that a run computes, to the last bit: its record without the time and the machine."""
    return json.dumps({name: value for name, value in asdict(record).items() if name not in OF_THE_MACHINE})
