"""Sealed block files -> records -> Parquet tables.

Reads ``results/campaigns``, writes ``results/dataset``, opens no connection. Raw files are never
moved or changed: what cannot be believed is listed in the table ``files`` with its reason.
"""
