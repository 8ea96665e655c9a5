"""How good a model is: judged with intervals, held against baselines, and told in one report."""
