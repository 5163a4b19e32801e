"""The top room: audits, renderings and the command line.

Imports nothing on purpose: `spverify recheck` must start without loading numpy.
"""
