"""`python -m convverify` is the command `convverify`."""

from convverify.cli import main

if __name__ == "__main__":
    main()
