"No test reaches beyond the loopback address (test_augmentation.py shows that the guard bites)."
import runpy
from pathlib import Path
runpy.run_path(str(Path(__file__).resolve().parent/'loopback/sitecustomize.py'))
