"""Do the intervals cover, and are the p values uniform? Simulated groups of questions, where the truth is known:

    python bench/intervals.py [SIMULATIONS]      2,000 unless told; some minutes on two cores

For each design: the share of simulations whose 95% interval of a mean contains the truth (`core.statistics.cluster_bootstrap`), the same for a paired difference, and how often the p value of
`paired_difference` is at most 0.05 where nothing differs, and a Kolmogorov-Smirnov test that these p values are uniform (where scores are not 0 or 1 and there are 20 groups or more; else signs have too few
outcomes, and p is larger than it need be); last, how often Holm's correction calls any of 12 measures different when none is (5% at most).
"""
import sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np

def sizes(rng, groups, spread=.9): # Questions of each group: many small ones, a few large ones, as in MedQuAD (363 groups hold 1,554 test rows)
    return np.maximum(1, rng.lognormal(.95, spread, groups).astype(int))

def normal(rng, g, n): return rng.normal(.3, .08, g)[n] + rng.normal(0, .15, len(n)) # An effect of the group, and one of the question
def rates(rng, g, n): return (rng.random(len(n)) < rng.beta(.6, 2.4, g)[n]).astype(float) # 0 or 1, as errors are; a fifth on average
def rare(rng, g, n): return (rng.random(len(n)) < rng.beta(.6, 29.4, g)[n]).astype(float) # 0 or 1, 2% on average: often none is seen at all
def skewed(rng, g, n): return np.minimum(1, rng.gamma(.8, .12, g)[n] + rng.gamma(.8, .12, len(n)))

DESIGNS = {'MedQuAD, 363 groups':(363, normal), '150 groups':(150, normal), '150 groups, 0 or 1':(150, rates), '150 groups, skewed':(150, skewed), '40 groups':(40, normal), '40 groups, 0 or 1':(40, rates), '20 groups':(20, normal), '10 groups':(10, normal), '5 groups':(5, normal),
    '150 groups, rare':(150, rare), '20 groups, rare':(20, rare)}
SHARES = (rates, rare) # What the report's intervals of rates go through, `seldom_seen`, is asked of them

def drawn(rng, design): # Returns scores and group of each question
    groups,values = DESIGNS[design]
    n = np.repeat(np.arange(groups), sizes(rng, groups))
    return values(rng, groups, n), n

def truth(design, n=4000): # Mean over very many questions
    rng = np.random.default_rng(0)
    return np.concatenate([drawn(rng, design)[0] for _ in range(n*20//DESIGNS[design][0])]).mean()

def one(args): # Design, seed, truth, resamples. Returns (mean covered, difference covered, p)
    from medqa_nb.core.statistics import cluster_bootstrap, paired_difference, seldom_seen
    design,seed,mean,resamples = args
    rng = np.random.default_rng([seed, 7])
    a,n = drawn(rng, design)
    flip = rng.random(DESIGNS[design][0])[n] < .5 # b is another draw for the same groups; which is called a is a coin's matter, so that nothing differs
    b = DESIGNS[design][1](rng, DESIGNS[design][0], n)
    x,y = np.where(flip, a, b),np.where(flip, b, a)
    o,d = cluster_bootstrap(a, n, resamples, seed),paired_difference(x, y, n, resamples, seed)
    if DESIGNS[design][1] in SHARES: o,d = seldom_seen(o, a, n, 0, [1]),seldom_seen(d, x - y, n)
    return o['ci95'][0] <= mean <= o['ci95'][1], d['ci95'][0] <= 0 <= d['ci95'][1], d['p']

def uniform(ps): # p values. Returns the p value of Kolmogorov's test that they are uniform
    "They are multiples of 1/(n+1); so each is moved at random within its step"
    rng = np.random.default_rng(1)
    p = np.sort(np.asarray(ps) - rng.random(len(ps))*np.diff(np.unique(ps)).min())
    n = len(p)
    d = max((np.arange(1, n + 1)/n - p).max(), (p - np.arange(n)/n).max())
    z = d*(np.sqrt(n) + .12 + .11/np.sqrt(n)) # Stephens 1970
    return float(min(1., 2*sum((-1)**(k - 1)*np.exp(-2*k*k*z*z) for k in range(1, 100))))

def simulate(design, n, resamples=1000, pool=None): # Returns (coverage of a mean, of a difference, share of p up to 0.05, p of uniformity or None)
    m = truth(design)
    found = list((pool.map if pool else map)(one, [(design, i, m, resamples) for i in range(n)], **(dict(chunksize=50) if pool else {})))
    means,diffs,ps = zip(*found)
    fine = DESIGNS[design][0] >= 20 and DESIGNS[design][1] not in SHARES
    return np.mean(means), np.mean(diffs), np.mean(np.array(ps) <= .05), uniform(ps) if fine else None

def family(seed): # Returns whether any of 12 correlated measures is called different, with p corrected by Holm
    from medqa_nb.core.statistics import holm, paired_difference
    rng = np.random.default_rng([seed, 9])
    n = np.repeat(np.arange(60), sizes(rng, 60))
    shared = rng.normal(0, .1, 60)[n] # what all measures feel
    ps = [paired_difference(rng.normal(0, .1, len(n)) + shared*rng.choice([-1, 1], 60)[n], np.zeros(len(n)), n, 400, seed)['p'] for _ in range(12)]
    return min(holm(ps)) <= .05

if __name__ == '__main__':
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with ProcessPoolExecutor(2) as pool:
        print(f'{n} simulations     interval of a mean   of a difference   p <= 0.05   uniform (Kolmogorov-Smirnov)')
        for d in DESIGNS:
            m,x,small,u = simulate(d, n, pool=pool)
            print(f'{d:24} {m:13.1%} {x:17.1%} {small:11.1%} {"" if u is None else f"{u:.2f}":>12}', flush=True)
        print(f'Holm, 12 measures: {np.mean(list(pool.map(family, range(n), chunksize=50))):.1%} of evaluations call something different')
