"""Experiments that train with the operator instead of checking it call by call."""
