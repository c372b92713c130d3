"""How long scoring takes, on real answers:

    python bench/scoring.py RUN [ANSWERS]      a run folder whose data stage has read MedQuAD; 1,554 answers unless told

As many held-out questions (again from the first where there are fewer), each answered with the answer of another training row of the same question type. All measures but BERTScore and NLI: ROUGE, chrF, BLEU, terms, numbers,
doses, warnings, and statements judged by words, in one process. The last lines are the seconds (bar: 30 on two cores; where others use the machine, those of the processor tell) and the answers a second in which the vocabulary's terms are found, on one core (bar: 2,000).
"""
import sys, time
import numpy as np

def main(folder, n=1554):
    from medqa_nb.core.config import Config
    from medqa_nb.core.entailment import Lexical, faithfulness_table
    from medqa_nb.core.entities import medical_table
    from medqa_nb.core.files import read_table
    from medqa_nb.core.metrics import score, score_table
    from medqa_nb.core.runs import Run
    from medqa_nb.core.vocabulary import Terms, build_vocabulary
    run = Run.open(folder, exist=True)
    terms,rng = Terms(build_vocabulary(run)),np.random.default_rng(0)
    train,test = (read_table(run.path('data', f'{o}.parquet')) for o in ('train', 'test'))
    test = test.iloc[np.arange(int(n)) % len(test)].reset_index(drop=True)
    keys = [f'{i}' for i in range(len(test))]
    by_type = {t:g.answer.tolist() for t,g in train.groupby('qtype')}
    everything = train.answer.tolist()
    said = [o[rng.integers(len(o))] for o in (by_type.get(t, everything) for t in test.qtype)]
    score('a', 'a') # libraries are loaded
    parts = dict(overlap=lambda: score_table(keys, said, test.answer), medical=lambda: medical_table(keys, said, test.answer, terms, test.question),
                 statements=lambda: faithfulness_table(keys, said, test.answer, Lexical(terms)))
    total = [0., 0.]
    for name,f in parts.items():
        t0 = time.perf_counter(),time.process_time(); f(); t = time.perf_counter() - t0[0],time.process_time() - t0[1]
        total = [a + b for a,b in zip(total, t)]
        print(f'{name:12} {t[0]:6.1f} s, of the processor {t[1]:6.1f} s', flush=True)
    t0 = time.process_time()
    found = sum(len(terms.find(s)) for s in said)
    rate = len(said)/(time.process_time() - t0)
    print(f'{len(said)} answers, {sum(map(len, said))/len(said):.0f} characters each, {found/len(said):.1f} terms each, a vocabulary of {len(terms.of):,}')
    print(f'all: {total[0]:.1f} s, of the processor {total[1]:.1f} s\nvocabulary: {rate:,.0f} answers/s')

if __name__ == '__main__': main(*sys.argv[1:]) if len(sys.argv) > 1 else print(__doc__)
