"""Probability of a name: logistic regressions, fitted on media that nothing was trained on.

Many of these media stand in validation sets too (`samples.MEASURED_TOO`), so it is no split apart from the figures.
"""
