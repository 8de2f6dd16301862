"""Questions of arithmetic, fresh for every seed.

>>> ask = question(5, "convolution")
>>> ask.check(ask.answer)
Right: 18,819 parameters.
"""

from random import Random

from resnet_course.drills.answers import Question
from resnet_course.drills.kinds import (
    ask_activation_memory,
    ask_block,
    ask_bottleneck_ratio,
    ask_convolution,
    ask_multiply_adds,
    ask_receptive_field,
    ask_shape,
    ask_stage,
)
from resnet_lib._arguments import check_choice, check_count

_KINDS = {
    "convolution": ask_convolution,
    "block": ask_block,
    "stage": ask_stage,
    "multiply-adds": ask_multiply_adds,
    "shape": ask_shape,
    "receptive field": ask_receptive_field,
    "bottleneck ratio": ask_bottleneck_ratio,
    "activation memory": ask_activation_memory,
}
KINDS = tuple(_KINDS)


def question(seed: int, kind: str | None = None) -> Question:
    """The question of this seed, of one of the `KINDS`; without ``kind``, of a kind that the seed draws.

    Raises:
        TypeError, ValueError: a seed that is not a whole number from 0 up, or an unknown kind.

    >>> question(0, "riddle")
    Traceback (most recent call last):
    ...
    ValueError: kind must be one of 'convolution', 'block', 'stage', 'multiply-adds', 'shape', 'receptive field', \
'bottleneck ratio', 'activation memory', got 'riddle'
    """
    check_count("seed", seed, at_least=0)
    if kind is None:
        kind = Random(f"kind {seed}").choice(KINDS)
    check_choice("kind", kind, KINDS)
    return _KINDS[kind](Random(f"{kind} {seed}"))
