"""`python -m tenfold.cli` is `tenfold`: how the supervisor starts its processes."""

from tenfold.cli import main

main()
