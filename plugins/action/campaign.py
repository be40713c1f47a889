"""Action plugin: starts the campaign engine and shows its events as they come.

It connects nowhere itself. An action plugin runs in a worker without terminal or streams, so the
events go through ``Display``, which shows whole lines at once; and a worker is killed on Ctrl-C
without running any clean-up, so the engine gets a session of its own and ends by itself when its
standard input, a pipe of this worker, ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """``campaign: {argv: [...]}``: arguments of ``python -m collector measure``."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("argv", "chdir"))

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the engine; fail with its last error and its exit code."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": "a measurement is not configuration"}
        argv = [str(one) for one in self._task.args["argv"]]
        with subprocess.Popen(
            [sys.executable, "-m", "collector", "measure", *argv, "--events", "json"],
            cwd=self._task.args["chdir"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as engine:
            assert engine.stdout is not None  # noqa: S101 (it is a pipe)
            said = ""
            for line in engine.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"event": "error", "text": line.rstrip()}
                said = self._show(event) or said
        if engine.returncode != 0:
            raise AnsibleActionFail(
                said or f"the engine ended with exit code {engine.returncode}",
                result={**result, "exit_code": engine.returncode},
            )
        return {**result, "changed": True, "msg": said}

    def _show(self, event: dict[str, Any]) -> str | None:
        """Show one event; return its text if it is worth keeping as the task's message."""
        left = event.get("left_s")
        tail = f"  ({left / 60:.1f} min left)" if left and event["event"] == "run" else ""
        display.display(f"  {event['text']}{tail}")
        return str(event["text"]) if event["event"] in ("error", "done") else None
