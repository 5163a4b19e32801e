"""The trusted room: what a game, a play and a proof are, and the decisions taken on them.

Imports nothing on purpose: `spverify recheck` must reach the kernel without loading numpy.
"""
