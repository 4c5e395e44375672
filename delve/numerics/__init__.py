"""Covariance of a stream of samples, its eigenvalues, and their reduction over processes.

Private to Delve.
"""
