"""Nets and unfitted estimators. The folder is the registry: `models/x.py` is the model x."""
