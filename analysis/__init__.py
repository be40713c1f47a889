"""The analysis: dataset -> estimates, verdicts, tables, charts, report.

It reads the Parquet parts that ``<state>/results/dataset/index.json`` lists and the campaign's
``plan.json``, and opens no connection. Of ``collector`` it knows ``collector.schema`` alone.
Every verdict carries ``__version__``: raise it when an estimator or a rule changes.
"""

from typing import Final

__version__: Final = "0.3.0"
