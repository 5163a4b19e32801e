"""`python -m spverify`: the command line, for environments where the console script is not on the path."""

from .reports.cli import main

if __name__ == "__main__":
    main()
