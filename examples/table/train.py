"""Train by the recipe beside this file: python train.py FOLDER; plain.py is the same in plain PyTorch."""

import sys
from pathlib import Path

import truestep as ts

run = ts.train(recipe=Path(__file__).with_name("recipe.toml"), out=sys.argv[1])
for name, value in run.metrics.items():
    print(f"test_{name} {value}")
