"""What stands behind a model in service: the log of its answers, inputs kept by consent, and the registry of versions.

log.py writes, reads and forgets log lines, line.py says what a line is, kept.py stores inputs, registry.py says which
bundle holds which name.
"""
