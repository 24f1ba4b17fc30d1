"""`python -m truestep`, so that `torchrun -m truestep` works."""

from truestep.cli import main

main()
