"Our scores are the reference libraries' scores."
import math
import numpy as np
import pytest
from medqa_nb.core.files import MedqaError
from medqa_nb.core.metrics import METRICS, as_metric, score

WORDS = 'the gout is a form of arthritis that comes suddenly and swells joints Résumé naïve 200 mg 5% treatment(s) treated treating don\'t β-blocker 手 🫀 A.B. co-trimoxazole ; : "x"'.split()

def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    make = lambda: ' '.join(rng.choice(WORDS, rng.integers(0, 60))) + rng.choice(['', '.', '\n- more', ' ?!'])
    return [(make(), make()) for _ in range(n)]

def test_equal_to_the_libraries():
    "ROUGE, chrF and BLEU of 400 pairs, unicode and empties among them, to 1e-9"
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_bleu, sentence_chrf
    scorer = RougeScorer(['rouge1', 'rouge2', 'rougeL'], use_stemmer=True)
    compared = 0
    for a,r in texts(400):
        mine = score(a, r)
        if not r.strip(): assert math.isnan(mine['rougeL']); continue
        for k,v in scorer.score(r, a).items(): assert abs(mine[k] - v.fmeasure) < 1e-9
        assert abs(mine['chrf'] - sentence_chrf(a, [r]).score/100) < 1e-9
        assert abs(mine['bleu'] - sentence_bleu(a, [r], use_effective_order=True).score/100) < 1e-9
        compared += 1
    assert compared > 350

def test_longest_sequence_by_bits():
    "The same as the table, for every shape"
    from medqa_nb.core.metrics import common_length
    rng = np.random.default_rng(1)
    def table(a, b):
        t = np.zeros((len(a) + 1, len(b) + 1), int)
        for i,x in enumerate(a):
            for j,y in enumerate(b): t[i+1,j+1] = t[i,j] + 1 if x == y else max(t[i,j+1], t[i+1,j])
        return t[-1,-1]
    for _ in range(200):
        a,b = (rng.integers(0, rng.integers(1, 9), rng.integers(0, 70)).tolist() for _ in 'ab')
        assert common_length(a, b) == table(a, b)

def test_metrics_of_evaluate(monkeypatch):
    "Subclasses combine, keep each score, need no hub, and say what is wrong"
    import evaluate
    monkeypatch.setenv('HF_HUB_OFFLINE', '1'); monkeypatch.setenv('HF_EVALUATE_OFFLINE', '1')
    pairs = [p for p in texts(20, 3) if p[1].strip()]
    said,true = map(list, zip(*pairs))
    got = evaluate.combine([as_metric(m) for m in METRICS]).compute(predictions=said, references=true)
    for m in METRICS: assert got[f'{m}_each'] == [score(a, r)[m] for a,r in pairs] and abs(got[m] - np.mean(got[f'{m}_each'])) < 1e-12
    from medqa_nb.core.entities import medical_scores
    from medqa_nb.core.vocabulary import Terms
    terms = Terms(dict(gout=dict(kind='condition', of='gout')))
    m = as_metric('condition_f1', lambda ps, rs: [medical_scores(p, r, terms)['condition_f1'] for p,r in zip(ps, rs)])
    assert isinstance(m, evaluate.Metric) and m.compute(predictions=['Gout.', 'x', 'y'], references=['Gout', 'gout', 'z'])['condition_f1'] == .5
    assert as_metric('rouge1').compute(predictions=['', 'rest'], references=['rest', 'rest'])['rouge1_each'] == [0., 1.]
    with pytest.raises(ValueError, match='(?i)mismatch|number'): as_metric('bleu').compute(predictions=['a'], references=['a', 'b'])
