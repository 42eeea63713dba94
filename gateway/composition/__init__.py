"""Puts the parts together: the only package that knows all of them."""
