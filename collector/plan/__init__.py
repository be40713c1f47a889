"""Planning: experiment + inventory + seed -> plan, touching no host.

``experiment`` and ``inventory`` read what people write, ``rules`` judges it, ``plan`` turns it into
the list of blocks and runs that a campaign carries out. The only program that is started is
``ansible-inventory``, which reads files.
"""
