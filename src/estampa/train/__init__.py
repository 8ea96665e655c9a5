"""Learning: the loop, the classes with fit, the choices made from the data, the search over a recipe's values."""
