"""Strategy plugin: Ansible's own order of tasks, over one lasting interpreter a host.

Each task of ``ansible.builtin.linear`` starts Python on the host and compiles its module there,
which on an emulated host takes seconds; Mitogen does both once. Ansible finds it here, wherever
the virtual environment is.
"""

from ansible_mitogen import affinity
from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule

__all__ = ["StrategyModule"]

# Mitogen pins Ansible to a CPU, and everything that Ansible starts later inherits it: the inventory
# would see one CPU only, and the engine measure from there.
affinity.policy = affinity.Policy()
