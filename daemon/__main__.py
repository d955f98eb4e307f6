"""`python -m daemon` is `attuned`."""

from daemon.cli import main

main()
