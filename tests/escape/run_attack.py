"""`python run_attack.py NAME FACTS` beside the folder `attacks` runs one attack."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("attacks")
    importlib.import_module("attacks.harness").main(sys.argv[1:])
