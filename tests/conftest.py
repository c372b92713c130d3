"No test reaches beyond the loopback address (test_augmentation.py shows that the guard bites); two files run at a time, so one thread each: OpenMP's threads wait by spinning, and take the core that the other file needs."
import os, runpy
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
runpy.run_path(str(Path(__file__).resolve().parent/'loopback/sitecustomize.py'))
