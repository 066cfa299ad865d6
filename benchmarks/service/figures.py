"""The figures as a table for the documentation: what was asked for, what came, whether it holds."""

from typing import Any

DEADLINE_MS = 10_000


def table(found: dict[str, Any]) -> str:
    rows: list[tuple[str, str, str, bool]] = []
    if over := found.get("overload"):
        kinds = over["statuses"].values()
        answered = sum(n for counts in kinds for status, n in counts.items() if status == "200")
        span = f"{over['minutes']:g} min at {over['sent_a_second']:g} requests a second"
        rows += [
            (f"good answers, of a capacity of {over['capacity']:g} a second before and "
             f"{over['capacity_after']:g} after; {span}",
             f"{over['goodput']:g} a second, {over['goodput_share']:.0%} of their mean", "≥ 90 %",
             over["goodput_share"] >= 0.9),
            ("99 % of the answers within", ms(over["accepted_p99_ms"]), "< 10 s",
             over["accepted_p99_ms"] < DEADLINE_MS),
            ("99 % of the refusals within", ms(over["refused_p99_ms"]), "", True),
            ("99 % of `/healthz` within", ms(over["health_p99_ms"]), "< 100 ms",
             over["health_p99_ms"] < 100 and not over["health_failed"]),
            ("memory: start, most, end",
             " → ".join(f"{over[f'memory_{k}_mib']:,} MiB" for k in ("start", "most", "end")),
             "within 20 %", over["memory_end_mib"] <= 1.2 * over["memory_start_mib"]),
            ("answers with status 500", str(over["faults"]), "0", not over["faults"]),
            (f"answers that differ from a quiet run, of {answered:,}", str(over["other_answers"]),
             "0", not over["other_answers"]),
            ("requests without an answer, with half of one, or with two",
             str(unanswered(over)), "0", not unanswered(over)),
        ]  # fmt: skip
    if ending := found.get("ending"):
        lost = ending["lost"]
        rows.append(("accepted requests lost at SIGTERM under load", str(lost), "0", not lost))
    if rivals := found.get("rivals"):
        for name, words, least in (
            ("one_by_one", "the service with `--max-batch 1`", 1.5),
            ("by_hand", "an endpoint by hand", 2.0),
            ("litserve", "LitServe", 1.0),
        ):
            if f"service_to_{name}" in rivals["ratios"]:
                ratio = rivals["ratios"][f"service_to_{name}"]
                wide = f"16 clients, against {words} ({rivals['best'][name]:g} images a second)"
                rows.append((wide, f"{ratio:g} times", f"≥ {least:g} times", ratio >= least))
    if over := found.get("overhead"):
        rows.append(
            (f"a request takes longer than `predict` ({over['predict_ms']:g} ms) by",
             ms(over["overhead_ms"]), "≤ 10 ms", over["overhead_ms"] <= 10)
        )  # fmt: skip
    for name, trial in found.get("faults", {}).items():
        if isinstance(trial, dict) and name != "others":
            words = name.replace("_", " ")
            rows.append((f"{words}: wrong answers", str(other(trial)), "0", not other(trial)))
    lines = ["| measured | figure | wanted | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {a} | {b} | {c} | {'yes' if d else '**no**'} |" for a, b, c, d in rows]
    return "\n".join(lines) + "\n"


def ms(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def unanswered(over: dict[str, Any]) -> int:
    names = ("cut_or_doubled", "without_answer", "not_reached", "strays")
    return sum(over[name] for name in names)


def other(trial: dict[str, Any]) -> int:
    phases = [phase for phase in trial.values() if isinstance(phase, dict)]
    return sum(p.get("other_answers", 0) + p.get("wrong", 0) for p in phases)
