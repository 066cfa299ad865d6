"""`check_flags`: arguments that are ``True`` or ``False``."""

import numpy as np

from skinxai.errors import OptionError


def check_flags(**values: object) -> None:
    """Refuse whatever is neither ``True`` nor ``False``: the text ``"no"`` would count as true.

    Args:
        values: argument by its name.

    Raises:
        OptionError: for the first one that is no bool.
    """
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise OptionError(f"{name} must be True or False, got {value!r}.")
