"""The commands that write a configuration: ``chukei init``, ``chukei import`` and ``chukei config``.

``serve`` imports nothing of this package.
"""
