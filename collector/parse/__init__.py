"""Load tools and the parsers of what they print: bytes in, records out, nothing else touched.

Standard library only, so that an output can be parsed where nothing is installed.
"""

from collector.parse.record import ParseError, Record
from collector.parse.registry import TOOLS
from collector.parse.tool import Capabilities, Invocation, Load, LoadTool

__all__ = ["TOOLS", "Capabilities", "Invocation", "Load", "LoadTool", "ParseError", "Record"]
