"""What stands behind a model in service: the log of its answers, inputs kept by consent, and the registry of versions.

line.py says what a line is, log.py writes, reads and forgets them, summary.py counts them, kept.py stores inputs,
registry.py says which bundle holds which name.
"""
