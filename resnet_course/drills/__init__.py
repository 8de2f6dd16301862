"""Drills that answer: networks with a bug to find, and questions of arithmetic that never run out.

>>> guess(1, 1)
Line 1 is as it should be.
>>> question(0, "convolution").check("many")
The answer is a number, got str.

Text shows itself as the last expression of a cell; elsewhere, print it.
"""

from resnet_course.drills.bug_hunt import NUMBER_OF_BUGS, bug, correct_source, guess, hint, symptom
from resnet_course.drills.questions import KINDS, question

__all__ = ["KINDS", "NUMBER_OF_BUGS", "bug", "correct_source", "guess", "hint", "question", "symptom"]
