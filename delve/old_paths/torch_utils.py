"""The import path of the covariance in delve 0.1."""

from delve.numerics.covariance import TorchCovarianceMatrix

__all__ = ["TorchCovarianceMatrix"]
