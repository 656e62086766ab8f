#!/usr/bin/env python3
"""Compares the instructions that a run of `benches/instructions.rs` has taken with the baseline.

Fails when a case has grown by more than GROWTH_MAX, or when the cases are not those of the
baseline. With --bless the run becomes the baseline.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

# Hashes are seeded afresh in every process: two runs of one program differ by up to 1 %.
GROWTH_MAX = 0.02


def read_run(path):
    """Instructions by case, from gungraun's JSON: one object a line."""
    cases = {}
    for line in path.read_text().splitlines():
        case = json.loads(line)
        total = case["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        cases[f"{case['function_name']}.{case['id']}"] = total
    return cases


def read_baseline(path):
    """What the baseline was built with, and its instructions by case."""
    head, *lines = path.read_text().splitlines()
    rows = (line.split() for line in lines)
    return head.removeprefix("# "), {case: int(count) for case, count in rows}


def built_with():
    """What counts depend on besides the code."""
    rustc = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    valgrind = subprocess.check_output(["valgrind", "--version"], text=True).strip()
    libc = " ".join(platform.libc_ver())
    return f"rustc {rustc}, {valgrind}, {libc}, {platform.machine()}"


def compare(run, baseline):
    """Prints one line a case and returns what is wrong."""
    wrong = []
    for case in run.keys() | baseline.keys():
        if case not in baseline:
            wrong.append(f"{case} is not in the baseline")
        elif case not in run:
            wrong.append(f"{case} of the baseline was not run")
        elif run[case] > baseline[case] * (1 + GROWTH_MAX):
            wrong.append(f"{case} has grown from {baseline[case]:,} to {run[case]:,} instructions")
    for case, count in run.items():
        change = f"{count / baseline[case] - 1:+8.2%}" if case in baseline else "     new"
        print(f"{case:32} {count:>10,} {change}")
    return sorted(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="gungraun's output with --output-format=json")
    parser.add_argument("baseline", type=Path)
    parser.add_argument("--bless", action="store_true", help="make the run the baseline")
    arguments = parser.parse_args()

    run = read_run(arguments.run)
    if arguments.bless:
        lines = [f"# {built_with()}", *(f"{case:32} {count:>10}" for case, count in run.items())]
        arguments.baseline.write_text("\n".join(lines) + "\n")
        print(f"{arguments.baseline} holds this run now: commit it with its reason")
        return 0

    tools, baseline = read_baseline(arguments.baseline)
    wrong = compare(run, baseline)
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong:
        print("If it has to be so: make bench-instructions A=--bless", file=sys.stderr)
    if tools != built_with():
        print(f"note: the baseline is of {tools}, and this run of {built_with()}: to compare, "
              "bless the commit before yours first", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
