"""The table of a results file: medians over rounds, and ratios taken within each round."""

import json
import statistics
import sys

LOW, HIGH = "less is better", "more is better"


class Own(float):
    """A goal for our own figure, in the row's unit, whatever the peer's is."""


# Row: what it says, its unit, the factor from the result's own unit, which way is better, and the ratio to reach, if one is set.
ROWS = {
    "produce_os_cpu": ("CPU per GB produced, os", "s", 1, LOW, None),
    "produce_os_rate": ("produce rate, os", "MB/s", 1, HIGH, None),
    "consume_cpu": ("CPU per GB consumed", "s", 1, LOW, None),
    "consume_rate": ("consume rate", "MB/s", 1, HIGH, None),
    "small_cpu": ("CPU per million records of 100 B in 16 KB batches", "s", 1, LOW, None),
    "single_cpu": ("CPU per million batches of 1 record at 10,000/s", "s", 1, LOW, None),
    "produce_ack_cpu": ("CPU per GB produced, each batch synced", "s", 1, LOW, None),
    "produce_ack_rate": ("produce rate, each batch synced", "MB/s", 1, HIGH, None),
    "e2e_os_p50": ("end to end p50 at 20,000/s, os", "ms", 1e-3, LOW, None),
    "e2e_os_p99": ("end to end p99 at 20,000/s, os", "ms", 1e-3, LOW, None),
    "e2e_ack_p99": ("end to end p99 at 20,000/s, each batch synced", "ms", 1e-3, LOW, None),
    "schedule_lz4_rate": ("ours, lz4: scheduling on beside off", "MB/s", 1, HIGH, None),
    "schedule_lz4_cpu": ("ours, lz4: CPU per GB, on beside off", "s", 1, LOW, None),
    "schedule_zstd_rate": ("ours, zstd: scheduling on beside off", "MB/s", 1, HIGH, None),
    "schedule_zstd_cpu": ("ours, zstd: CPU per GB, on beside off", "s", 1, LOW, None),
    "rss_idle": ("memory, idle", "MB", 1e-6, LOW, None),
    "rss_after": ("memory after the GBs", "MB", 1e-6, LOW, None),
    "start_empty": ("start to first ack, empty", "ms", 1e3, LOW, None),
    "start_killed": ("start to first ack after kill -9 with the GBs", "ms", 1e3, LOW, None),
    "many_rss": ("memory for 2,000 partitions and 1,000 connections", "MB", 1e-6, LOW, None),
    "many_cpu": ("CPU of 10 idle seconds with them", "s", 1, LOW, None),
    "join_classic": ("100 members join at once, until stable, classic", "ms", 1, LOW, 1 / 2),
    "join_classic_cpu": ("CPU of it", "s", 1, LOW, None),
    "join_consumer": ("100 members join at once, until stable, consumer protocol", "ms", 1, LOW, 1 / 2),
    "join_consumer_cpu": ("CPU of it", "s", 1, LOW, None),
    "commit_one": ("commits of one group", "1/s", 1, HIGH, 3),
    "commit_one_cpu": ("CPU per 100,000 of them", "s", 1, LOW, 1 / 3),
    "commit_one_p99": ("their p99", "ms", 1e-3, LOW, None),
    "commit_many": ("commits of 1,000 groups", "1/s", 1, HIGH, 3),
    "commit_many_cpu": ("CPU per 100,000 of them", "s", 1, LOW, 1 / 3),
    "commit_many_p99": ("their p99", "ms", 1e-3, LOW, None),
    "commit_one_ack": ("commits of one group, each synced", "1/s", 1, HIGH, None),
    "commit_one_cpu_ack": ("CPU per 100,000 of them", "s", 1, LOW, None),
    "commit_one_p99_ack": ("their p99", "ms", 1e-3, LOW, None),
    "commit_many_ack": ("commits of 1,000 groups, each synced", "1/s", 1, HIGH, None),
    "commit_many_cpu_ack": ("CPU per 100,000 of them", "s", 1, LOW, None),
    "commit_many_p99_ack": ("their p99", "ms", 1e-3, LOW, None),
    "txn_rate": ("transactions of 10 records over 4 partitions", "1/s", 1, HIGH, 2),
    "txn_commit_p99": ("p99 of their commits", "ms", 1e-3, LOW, 1 / 2),
    "txn_p99": ("p99 of the whole transaction", "ms", 1e-3, LOW, None),
    "txn_cpu": ("CPU per 1,000 of them", "s", 1, LOW, None),
    "load_ready": ("kill -9 with a million committed offsets: start until they can be fetched", "ms", 1e3, LOW, Own(1_000)),
    "load_work": ("what loading them took, all partitions together", "ms", 1e3, LOW, None),
    "load_cpu": ("CPU from the start until then", "s", 1, LOW, None),
    "compact_cpu": ("compaction of the GBs, a million keys: CPU", "s", 1, LOW, 1 / 3),
    "compact_peak": ("largest memory while it runs", "MB", 1e-6, LOW, Own(64)),
    "compact_growth": ("memory beyond what was there before", "MB", 1e-6, LOW, None),
}


def figure(number):
    """Three digits."""
    if number is None:
        return "-"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.{1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3}f}"


def spread(numbers):
    """median (min–max)"""
    if not numbers:
        return "-"
    middle = figure(statistics.median(numbers))
    if len(numbers) == 1:
        return middle
    return f"{middle} ({figure(min(numbers))}–{figure(max(numbers))})"


def ratios(ours, peers):
    """Ours over the peer's, within each round that has both."""
    return [ours[r] / peers[r] for r in sorted(ours) if peers.get(r)]


def reach(found, better, goal, ours):
    """Against the goal where there is one; else in how many rounds ours was ahead."""
    if isinstance(goal, Own) and ours:
        middle = statistics.median(ours)
        there = middle <= goal if better is LOW else middle >= goal
        return f"own {'≤' if better is LOW else '≥'} {figure(goal)}: {'yes' if there else 'NO'}"
    if not found:
        return "-"
    ahead = sum((r < 1) if better is LOW else (r > 1) for r in found)
    said = f"ahead {ahead}/{len(found)}"
    if goal is None:
        return said
    middle = statistics.median(found)
    there = middle <= goal if better is LOW else middle >= goal
    return f"{'≤' if better is LOW else '≥'}{goal:.3g}: {'yes' if there else 'NO'}, {said}"


def table(lines):
    """Markdown; only rows that were measured."""
    values, failed = {}, {}
    for line in lines:
        if "row" in line:
            factor = ROWS[line["row"]][2]
            by_round = values.setdefault(line["row"], {}).setdefault(line["side"], {})
            by_round[line["round"]] = line["value"] * factor
        elif "failed" in line:
            failed[(line["session"], line["side"])] = failed.get((line["session"], line["side"]), 0) + 1
    cells = [["measure", "unit", "ChronosDB", "Kafka 4.3.1", "ratio", "reach"]]
    for row, (label, unit, _, better, goal) in ROWS.items():
        if row in values:
            ours, peer = (values[row].get(side, {}) for side in ("ours", "peer"))
            found = ratios(ours, peer)
            cells.append([label, unit, spread(list(ours.values())), spread(list(peer.values())),
                          spread(found), reach(found, better, goal, list(ours.values()))])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    out = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in cells]
    out.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    out += [f"{session}, {side}: {count} runs FAILED" for (session, side), count in failed.items()]
    return "\n".join(out)


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


if __name__ == "__main__":
    print(table(read(sys.argv[1])))
