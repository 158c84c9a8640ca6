"""Shows a batch while it runs: a live table in a terminal, one line per event elsewhere."""

import time
from typing import Any, TextIO

REFRESH_PER_S = 4
STATES = ("done", "running", "waiting", "failed", "interrupted")
STYLES = {
    "done": "green",
    "running": "bold cyan",
    "waiting": "dim",
    "failed": "bold red",
    "interrupted": "yellow",
}


def format_duration(seconds: float) -> str:
    """`4.2 s`, `3:07`, `1:02:45`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summarise_states(states: dict[str, dict[str, Any]], elapsed_s: float) -> str:
    """`2 done, 1 running, 4 waiting; 0:35 elapsed`."""
    counts = dict.fromkeys(STATES, 0)
    for state in states.values():
        counts[state["state"]] += 1
    parts = [f"{n} {name}" for name, n in counts.items() if n or name == "done"]
    return f"{', '.join(parts)}; {format_duration(elapsed_s)} elapsed"


def elapsed_of(state: dict[str, Any], now: float) -> str:
    """How long a run took, or has been running; empty while it waits."""
    if state["state"] == "running":
        return format_duration(max(0.0, now - state["time"]))
    return format_duration(state["wall_s"]) if "wall_s" in state else ""


class Progress:
    """Use as a context manager; call `update(states)` as often as you like.

    labels: `stage/run` -> what to show, in running order. stream: where to show it.
    """

    def __init__(self, labels: dict[str, str], stream: TextIO) -> None:
        self._labels = labels
        self._stream = stream
        self._started = time.monotonic()
        self._seen: dict[str, str] = {}
        self._states: dict[str, dict[str, Any]] = {n: {"state": "waiting"} for n in labels}
        self._live: Any = None
        self._max_rows = 0

    def __enter__(self) -> "Progress":
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream)
            self._max_rows = max(1, console.height - 4)  # heading, caption, and a line to spare
            self._live = Live(
                self.table(self._max_rows), console=console, refresh_per_second=REFRESH_PER_S
            )
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.update(self.table())
            self._live.__exit__(*error)

    def update(self, states: dict[str, dict[str, Any]]) -> None:
        """Show new states (`stage/run` -> state as the engine reads it)."""
        self._states = states
        if self._live:
            self._live.update(self.table(self._max_rows))
            return
        for name, state in states.items():
            kind = state["state"]
            if kind != self._seen.get(name, "waiting"):
                self._seen[name] = kind
                self._write_line(name, state)

    def _write_line(self, name: str, state: dict[str, Any]) -> None:
        width = max(map(len, self._labels.values()))
        n_done = sum(s["state"] == "done" for s in self._states.values())
        text = f"[{n_done}/{len(self._labels)}] {self._labels[name]:<{width}}  {state['state']}"
        self._stream.write(f"{text} {elapsed_of(state, time.time())}".rstrip() + "\n")
        if state["state"] == "failed" and state.get("lines"):
            self._stream.write(f"        {state['lines'].splitlines()[1]}\n")
        self._stream.flush()

    def table(self, max_rows: int | None = None) -> Any:
        """The rich table of the moment; what waits or is done is left out where it is too long."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        elapsed = time.monotonic() - self._started
        table = Table(box=None)
        for heading in ("stage", "state", "time"):
            table.add_column(heading, justify="right" if heading == "time" else "left")
        now = time.time()
        shown = self._labels
        if max_rows is not None and len(shown) > max_rows:
            quiet = ("done", "waiting")
            shown = {n: text for n, text in shown.items() if self._states[n]["state"] not in quiet}
        for name, label in shown.items():
            state = self._states[name]
            kind = state["state"]
            table.add_row(label, f"[{STYLES[kind]}]{kind}[/]", elapsed_of(state, now))
        return Group(table, Text(f" {summarise_states(self._states, elapsed)}"))
