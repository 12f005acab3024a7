"""The report's figures, a file for each kind; `pictures` says which of them a report has.

Colours can be told apart by the colour-blind, and markers, dashes and hatches without any colour. Equal data
give equal bytes.
"""
