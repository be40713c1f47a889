"""The names of a job file's variables, found by a scan.

HCL is not parsed here; ``nomad job validate`` does that before anything is deployed. The scan takes
lines of the form ``variable "name" {``, as ``nomad fmt`` writes them, outside of comments; a
``/* */`` comment counts where it begins a line (``"/alloc/*"`` begins none). A here-document that
holds such a line is read as a declaration too: a rule then misses an undeclared variable, and Nomad
still refuses it.
"""

from __future__ import annotations

import re
from typing import Final

_BLOCK_COMMENT: Final = re.compile(r"^[ \t]*/\*.*?\*/", re.DOTALL | re.MULTILINE)
_VARIABLE: Final = re.compile(r'^[ \t]*variable[ \t]+"([A-Za-z_][\w-]*)"[ \t]*\{', re.MULTILINE)


def declared_variables(text: str) -> tuple[str, ...]:
    """Names of the variables that a job file declares, in its order.

    >>> declared_variables('variable "path" {' + chr(10) + '}' + chr(10) + '# variable "x" {')
    ('path',)
    """
    return tuple(_VARIABLE.findall(_BLOCK_COMMENT.sub("", text)))
