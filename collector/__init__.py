"""The collector: plan, campaign engine, runner and observer, parsers, dataset.

Data flows one way (docs/contracts.md): plan -> block files (sealed) -> records -> dataset.
"""
