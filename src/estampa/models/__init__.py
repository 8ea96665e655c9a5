"""Nets and unfitted estimators. The folder is the registry: `models/x.py` is the model x."""

from estampa.machine import patient_threads

patient_threads()  # before anything here loads torch
