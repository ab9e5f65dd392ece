"""The shipped operator: an autograd Function whose forward and backward are the formulas."""
