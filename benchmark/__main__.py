"""``python -m benchmark`` is ``bench``."""

from benchmark.commands.app import main

main()
