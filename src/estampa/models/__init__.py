"""Nets and unfitted estimators. The folder is the registry: `models/x.py` is the model x."""

import os

# Threads that wait must sleep: OpenMP's waiting loop costs more than it gives as soon as another program wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
