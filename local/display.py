"""The terminal: one line a step."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from core.errors import shown
from local.runner import BELONGING, Step

TAIL = 12  # lines of a failed step's log


class Display:
    """Shows steps as they start and end; without a terminal, a line when each ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._running: dict[str, _Running] = {}
        self._live: Live | None = None

    def started(self, name: str) -> None:
        """Show a spinner and the seconds; on a cluster, steps may run side by side."""
        self._running[name] = _Running(name)
        self._show()

    def ended(self, step: Step) -> None:
        """Replace it by what came out."""
        self._running.pop(step.name, None)
        self.close()
        first, *more = shown(step.error or step.summary).splitlines() or [""]
        colour = "red" if step.error else "green"
        self.console.print(f"[{colour}]{'✗' if step.error else '✓'}[/]  {_columns(step.name, step.seconds)}{escape(first)}", soft_wrap=True)
        for line in more:
            self.console.print(f"{'':25}{escape(line)}", soft_wrap=True)
        self._show()

    def _show(self) -> None:
        self.close()
        if self._running and self.console.is_terminal:
            self._live = Live(Group(*self._running.values()), console=self.console, refresh_per_second=8, transient=True)
            self._live.start()

    def close(self) -> None:
        """Give the terminal back."""
        if self._live:
            self._live.stop()
            self._live = None


class _Running:
    def __init__(self, name: str) -> None:
        self.name, self.since, self.spinner = name, time.monotonic(), Spinner("dots")

    def __rich__(self) -> Text:
        return Text.assemble(self.spinner.render(time.monotonic()), "  ", _columns(self.name, time.monotonic() - self.since))  # type: ignore[arg-type]


def _columns(name: str, seconds: float) -> str:
    return f"{name:12}{seconds:6.1f} s  "


def tail(step: Step) -> str:
    """Return the last lines of a step's log, without its error, which the step's line tells."""
    lines = step.log.read_text(errors="replace").splitlines()
    others = [line for line in lines if line.strip() and not line.startswith(("failed: ", *BELONGING))]
    return "\n".join(f"  | {shown(line)}" for line in others[-TAIL:])
