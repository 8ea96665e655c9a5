"""`python -m estampa` is the `estampa` command."""

from estampa.cli import main

if __name__ == "__main__":
    main()
