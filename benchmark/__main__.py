"""``python -m benchmark`` is ``bench``."""

from passion_bench import main

main()
