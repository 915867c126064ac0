"""The exception for everything that a user can put right, and the words of other libraries' exceptions."""


class ReidError(ValueError):
    """Bad input: the message says what was expected, what arrived, and what to do.

    Library code names arguments (`margin=-1`); a command prints the message as one line, with its flags
    (`--margin=-1`), and ends with exit code 1. Any other exception is a bug and keeps its traceback.
    """


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text: some readers and converters write hundreds."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
