"""The way from the journal to the writers: found, checked, fed, retried, replayed and repaired.

Private to Delve.
"""
