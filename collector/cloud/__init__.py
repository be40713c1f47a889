"""Hosts in EC2, before they are started: who asks, what is wanted, whether it can be had, its cost.

Reads and refuses, and changes nothing; the role ``cloud_hosts`` starts and removes.
"""
