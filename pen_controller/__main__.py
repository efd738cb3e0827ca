"""`python -m pen_controller` is `pen`."""

from pen_controller.cli import main

main()
