"""Settings in, a gateway with its adapters out.

verification      what is missing on this machine
build             a relay from settings
administration    what administrators and operators ask
shown             what metrics and the live view read, also after a reload
reload            a relay from changed settings and the one before
"""
