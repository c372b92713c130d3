"Intervals contain the truth as often as they say, and p values are what they claim: the simulations of bench/intervals.py, fewer of them."
import sys
from pathlib import Path
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]/'bench'))
import intervals

@pytest.mark.parametrize('design', ['150 groups, skewed', '40 groups, 0 or 1', '20 groups', '5 groups'])
def test_coverage(design):
    "300 simulations: a true coverage between 93% and 97% falls outside of 89% to 99.5% once in a thousand tests (binomial)"
    mean,difference,small,uniform = intervals.simulate(design, 300, 300)
    assert .89 <= mean <= .995 and .89 <= difference <= .995
    assert small <= .10 # a share of 5% exceeds this once in ten thousand
    assert uniform is None or uniform > 1e-3

def test_the_check_can_fail():
    "Questions counted as independent are not covered, and p values that lean to one side are noticed"
    from medqa_nb.core.statistics import cluster_bootstrap
    m,covered = intervals.truth('40 groups'),0
    for i in range(150):
        v,_ = intervals.drawn(np.random.default_rng([i, 7]), '40 groups')
        lo,hi = cluster_bootstrap(v, np.arange(len(v)), 300, i)['ci95']
        covered += lo <= m <= hi
    assert covered/150 < .89
    rng = np.random.default_rng(0)
    assert intervals.uniform(rng.integers(1, 1001, 300)/1001) > 1e-3 > intervals.uniform(rng.integers(1, 1001, 300)**2/1001**2)

def test_family():
    "Holm: with nothing different in 12 measures, at most a few of 150 evaluations call something different (5% of 150 is 7.5; 17 or more have a chance below 1 in 500)"
    assert sum(intervals.family(i) for i in range(150)) < 17
