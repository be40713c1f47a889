"""The runner and observer: one program, pushed to hosts, standard library only.

It speaks JSON lines on its standard streams over a held ssh channel. On load hosts it executes
whole blocks; on every host it answers with counters. It ends itself when its controller's lease
lapses, and takes the load generator with it.
"""
