"""Classical models of tables: each file is one, and gives an unfitted scikit-learn classifier.

Each holds `Options` (its keys in `[model]`), `SPACE` (what a search draws each key from), `SIMPLICITY` (0 = the
simplest to explain), `COST` (about how many times as long as the quickest it takes) and `estimator`.
"""
