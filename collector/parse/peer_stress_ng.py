r"""stress-ng 0.15, one stressor with ``--metrics-brief``: one cell, named after it.

>>> (cell,) = read_stress_ng('''\
... stress-ng: info:  [3826] setting to a 1 second run per stressor
... stress-ng: info:  [3826] dispatching hogs: 1 pipe
... stress-ng: metrc: [3826] stressor       bogo ops real time  usr time  sys time   bogo ops/s\
...      bogo ops/s
... stress-ng: metrc: [3826]                           (secs)    (secs)    (secs)   (real time)\
...  (usr+sys time)
... stress-ng: metrc: [3826] pipe             410933      1.00      0.13      0.69    410611.31\
...       506431.25
... stress-ng: metrc: [3826] miscellaneous metrics:
... stress-ng: metrc: [3826] pipe                 200.73 MB per sec pipe write rate \
... (geometic mean of 1 instances)
... stress-ng: info:  [3826] successful run completed in 1.01s
... ''').cells
>>> cell.mode, cell.count, cell.rate_per_s
('pipe', 410933, 410611.31)

It says all this on standard error. A bogo op is what each stressor takes for one, and goes one way:
it orders runs of one stressor, and compares with nothing else. The version is not printed.

Refused: several stressors or instances, and a run that it calls unsuccessful.
"""

from __future__ import annotations

import re
from typing import Final

from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import first_refusal, joined, line_of

PROGRAM: Final = "stress-ng"
_INFO: Final = r"stress-ng: info:  \[[0-9]{1,9}\] "
MARK: Final = rf"{_INFO}setting to a "
QUOTED: Final = MARK

_METRIC: Final = r"stress-ng: metrc: \[[0-9]{1,9}\] "
_STRESSOR: Final = "pipe|fifo|mq|msg|sockpair|udp"
_DECIMAL: Final = r"[0-9]{1,15}\.[0-9]{2}"
_END: Final = r"[ \t]*\n"
_FAILURE: Final = re.compile(
    rf"^(?:stress-ng: (?:fail|error):|{_INFO}unsuccessful run completed)[^\n]*", re.M
)
_OUTPUT: Final = (
    (
        "'setting to a S second run per stressor'",
        rf"{_INFO}setting to a [0-9]{{1,9}} seconds? run per stressor{_END}",
    ),
    (
        "'dispatching hogs: 1 STRESSOR', pipe, fifo, mq, msg, sockpair or udp",
        rf"{_INFO}dispatching hogs: 1 (?P<hog>{_STRESSOR}){_END}",
    ),
    (
        "the table's head",
        rf"{_METRIC}stressor +bogo ops real time +usr time +sys time +bogo ops/s +bogo ops/s{_END}",
    ),
    (
        "the units of the table's head",
        rf"{_METRIC} +\(secs\) +\(secs\) +\(secs\) +\(real time\) \(usr\+sys time\){_END}",
    ),
    (
        "the stressor's row",
        rf"{_METRIC}(?P<name>{_STRESSOR}) +(?P<count>[0-9]{{1,15}}) +(?P<real>{_DECIMAL})"
        rf" +{_DECIMAL} +{_DECIMAL} +(?P<rate>{_DECIMAL}) +{_DECIMAL}{_END}",
    ),
    ("'miscellaneous metrics:'", rf"(?:{_METRIC}miscellaneous metrics:{_END})?"),
    # So it spells 'geometric'.
    (
        "a miscellaneous metric",
        rf"(?:{_METRIC}(?:{_STRESSOR}) +{_DECIMAL} [^\n]*\(geometic mean of 1 instances\){_END})*",
    ),
    (
        "'successful run completed in'",
        rf"{_INFO}successful run completed in (?P<run>{_DECIMAL})s"
        r"(?: \([0-9a-z., ]{1,60}\))?(?=[ \t]*(?:\n|\Z))",
    ),
)
_OUTPUT_RE: Final = re.compile(joined(_OUTPUT))
_HALF: Final = 0.0051  # of the last decimal


def read_stress_ng(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    match = _OUTPUT_RE.match(text)
    if match is None:
        raise first_refusal(text, _OUTPUT, _FAILURE)
    cell = Cell(
        mode=match["name"],
        message_bytes=None,
        state="measured",
        count=int(match["count"]),
        duration_s=float(match["real"]),
        rate_per_s=float(match["rate"]),
    )
    _check(match, int(match["count"]), float(match["real"]), float(match["rate"]))
    return Record(
        tool="peer",
        tool_version=PROGRAM,
        connections=1,
        duration_s=cell.duration_s,
        requests=cell.count,
        cells=(cell,),
    )


def _check(match: re.Match[str], count: int, seconds: float, rate: float) -> None:
    line, name = line_of(match, "name"), match["name"]
    if name != match["hog"]:
        raise ParseError(line, f"unexpected: a row of {name} in a run of {match['hog']}")
    if not count or not seconds:
        raise ParseError(line, f"no_data: {count} bogo ops of {name} in {match['real']} s")
    least = count / (seconds + _HALF) - _HALF
    # A hundredth of a second, the least that is printed, is more than half of one.
    if not least <= rate <= count / (seconds - _HALF) + _HALF:
        reason = f"unexpected: {count} bogo ops in {seconds} s are not {rate} a second"
        raise ParseError(line, reason)
    if seconds > float(match["run"]) + 2 * _HALF:
        reason = f"unexpected: a run of {match['run']} s has a stressor of {seconds} s"
        raise ParseError(line_of(match, "run"), reason)
