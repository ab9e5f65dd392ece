"""Formulations of the three maps, one a file; `choice` says which is used where."""
