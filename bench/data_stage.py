"""Seconds and peak memory of the data and augmentation stages:  python bench/data_stage.py MedQuAD.tar.gz"""
import resource, sys, tempfile, time
from pathlib import Path

def main(source):
    from medqa_nb.augmentation import augment
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    with tempfile.TemporaryDirectory() as d:
        run = Run.open(str(Path(d)/'bench'), new=dict(data=dict(sources=[source], validation=0.05, test=0.12)))
        both = lambda r: (build_data(r), augment(r))[0]
        for name,stage in (('data', build_data), ('augmentation', augment), ('both again', both)):
            start = time.perf_counter()
            report = stage(run)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
            print(f'{name}: {time.perf_counter()-start:.2f} s, peak {peak:.0f} MiB')
        print({k:report[k] for k in ('files', 'pairs', 'answered', 'kept', 'splits', 'leakage')})

if __name__ == '__main__': main(sys.argv[1])
