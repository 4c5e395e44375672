"""What the tests of several parts share: real servers to test against, and readers."""
