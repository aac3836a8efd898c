"""Other queues, each in an environment of its own; their functions run there, what is said of them here.

Nothing is imported here: :mod:`benchmarks.peers.roster` names them all.
"""
