"""Exact faster forms of parts of the model: equal to the plain ones in outputs and gradients, up to rounding.

Each is a subclass that overrides ``forward``, with the same parameters and state dict, or a function of the same
signature. `icpc_d2.modeling.build` chooses by ``MODEL.FAST``.
"""
