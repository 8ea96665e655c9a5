"""One file a method; the contract is in explore/clustering.py."""
