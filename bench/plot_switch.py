"""Draws the figure of the switch from the rows of bench/switch.sh: time on a logarithmic scale, one bar per way.

usage: plot_switch.py ROWS.jsonl OUT.svg
"""

import json
import math
import sys
from xml.sax.saxutils import escape

WAYS = [  # operation, label, colour
    ("limit", "memory limit of the switch", "#b8c4ce"),
    ("a_to_b_shared", "this server: A → B, equal index tables", "#1b7f5c"),
    ("a_to_b_distinct", "this server: A → B, distinct index tables", "#5cb894"),
    ("peer_torch_index_put", "LibTorch index_put_, prepared indices", "#7a86c8"),
    ("peer_torch_scatter", "LibTorch scatter_, prepared indices", "#a5aede"),
    ("peer_peft_shira_switch", "PEFT SHiRA: unmerge A, merge B", "#c9703f"),
    ("peer_peft_lora32_switch", "PEFT LoRA r = 32: unmerge A, merge B", "#dfa27e"),
]
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 300, 90, 17, 4, 56


def read(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def milliseconds(rows, rank, operation):
    """The median in bf16 with two threads; LoRA does not depend on SHiRA's rank."""
    key = "a_to_b_shared" if operation == "limit" else operation
    workload = "demo" if "lora" in key else f"demo r={rank}"
    for row in rows:
        if (row["operation"], row["workload"], row["dtype"], row["threads"]) == (key, workload, "BF16", 2):
            return row["limit_ms"] if operation == "limit" else row["median_ms"]
    return None


def draw(rows):
    ranks = sorted({int(row["workload"].split("=")[1]) for row in rows if row["workload"].startswith("demo r=")})
    values = {(rank, op): milliseconds(rows, rank, op) for rank in ranks for op, _, _ in WAYS}
    known = [value for value in values.values() if value]
    low, high = 10 ** math.floor(math.log10(min(known))), 10 ** math.ceil(math.log10(max(known)))
    scale = (WIDTH - LEFT - RIGHT) / math.log10(high / low)

    def x(value):
        return LEFT + math.log10(value / low) * scale

    body, y = [], TOP
    for rank in ranks:
        body.append(f'<text x="8" y="{y + 12}" font-weight="600">r = {rank}</text>')
        y += 20
        for operation, label, colour in WAYS:
            value = values[rank, operation]
            if value is None:
                continue
            body.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
                        f'<rect x="{LEFT}" y="{y}" width="{x(value) - LEFT:.1f}" height="{BAR}" fill="{colour}"/>'
                        f'<text x="{x(value) + 5:.1f}" y="{y + 13}">{value:.3g} ms</text>')
            y += BAR + GAP
        y += 10
    grid, tick = [], low
    while tick <= high:
        grid.append(f'<line x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{y}" stroke="#ddd"/>'
                    f'<text x="{x(tick):.1f}" y="{TOP - 14}" text-anchor="middle" fill="#666">{tick:g} ms</text>')
        tick *= 10
    machine = escape(rows[0]["machine"])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<text x="8" y="16" font-weight="600" font-size="14">Switching an adapter of SmolLM2-135M (bf16, 2 threads, cold caches)</text>'
            + "".join(grid) + "".join(body) + f'<text x="8" y="{y + 14}" fill="#666">{machine}</text></svg>\n')


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w") as file:
        file.write(draw(read(sys.argv[1])))


if __name__ == "__main__":
    main()
