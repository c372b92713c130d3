"Hand the requirement sets of `settings.ini` to setuptools; everything else stands in `pyproject.toml`."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

cfg = ConfigParser(delimiters=['='])
cfg.read_string((Path(__file__).parent/'settings.ini').read_text(encoding='utf-8'))
sets = {k.removesuffix('requirements').rstrip('_'): v.split() for k,v in cfg['DEFAULT'].items()}
setup(install_requires=sets.pop(''), extras_require=sets)
