"""The one exception for input that a user can mend: ``raise InputError("found X, expected Y: do Z")``.

A leaf that every room may import. The program prints it as one line and ends with exit code 2.
"""


class InputError(ValueError):
    """Wrong input: says what was found, what was expected and what to do, in one line."""
