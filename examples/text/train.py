"""Train by the recipe beside this file; plain.py is the same in plain PyTorch."""

import argparse
from pathlib import Path

import truestep as ts

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, required=True)
recipe = Path(__file__).with_name("recipe.toml")

run = ts.train(recipe=recipe, out=parser.parse_args().out)
for name, value in run.metrics.items():
    print(f"test_{name} {value}")
