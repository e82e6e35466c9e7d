"""How the models of this repository were made."""
