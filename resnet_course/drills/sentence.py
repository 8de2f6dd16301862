"""Text that shows itself as it reads, also as the last expression of a cell."""


class Sentence(str):
    """A string whose ``repr`` has no quotes.

    >>> Sentence("Right: 4 channels.")
    Right: 4 channels.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
