"""One exception for everything that the person at the keyboard can put right."""


class ReidError(ValueError):
    """Bad input: the message says what was expected, what came, and what to do.

    The commands print its message as one line and end with exit code 1; any other exception is a bug and keeps its
    traceback.
    """
