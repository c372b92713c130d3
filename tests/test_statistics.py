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

def test_rare_events():
    "A rate of 2% in 20 groups, mostly not seen at all: the bootstrap alone covers it three times in four, the report's interval always often enough"
    from medqa_nb.core.statistics import cluster_bootstrap
    mean,difference,*_ = intervals.simulate('20 groups, rare', 200, 300)
    assert mean >= .95 and difference >= .95
    alone = [cluster_bootstrap(*intervals.drawn(np.random.default_rng([i, 7]), '20 groups, rare'), 300, i)['ci95'] for i in range(200)]
    assert np.mean([lo <= .02 <= hi for lo,hi in alone]) < .85

def test_two_groups():
    "A resample that holds one group twice has no error but rounding, and must not blow up the interval: Student's t with one degree of freedom"
    from medqa_nb.core.statistics import cluster_bootstrap
    rng = np.random.default_rng(0)
    for i in range(200):
        v,g = rng.normal(.2, .05, 11),np.arange(11) > 6
        lo,hi = cluster_bootstrap(v, g, 200, i)['ci95']
        assert hi - lo < 12.8*2*np.ptp([v[g].mean(), v[~g].mean()])

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
