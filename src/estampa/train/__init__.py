"""Learning: the loop, the classes with fit, the choices made from the data, the search over a recipe's values."""

import estampa.models  # noqa: F401 - sets how threads wait, before torch is loaded
