"""The stages of a run, each a function of its own; `pipeline` alone knows their order."""
