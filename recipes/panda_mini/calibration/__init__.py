"""How sure a name is: logistic regressions on a split of its own, which no figure is measured on."""
