"""The proofs: SymPy and SMT show that the closed forms are the derivative of the definition."""
