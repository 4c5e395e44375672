"""What a forward pass leaves: which layers are tracked, their outputs as samples, the hooks.

Private to Delve.
"""
