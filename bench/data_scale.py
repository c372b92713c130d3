"""Ten copies of an archive's files under other names against one:  python bench/data_scale.py MedQuAD.tar.gz [COPIES]

Seconds and peak memory (this process and its children) of the whole data stage, a process each; the ratios last.
"""
import io, json, subprocess, sys, tarfile, tempfile, threading, time
from pathlib import Path

def copies(archive, out, n): # Archive; tar to write; copies
    "A tar with every file `n` times, each time in folders of other names"
    from medqa_nb.core.sources import xml_files
    files = list(xml_files(archive))
    with tarfile.open(out, 'w:gz', compresslevel=1) as t:
        for i in range(n):
            for name,xml in files:
                info = tarfile.TarInfo(f'top/{i}_{name}'); info.size = len(xml)
                t.addfile(info, io.BytesIO(xml))

def one(source): # Archive; prints a line of JSON
    "The data stage of one source"
    import psutil
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    me,peak,ended = psutil.Process(),[0],threading.Event()
    def rss(p):
        try: return p.memory_full_info().pss if p != me else p.memory_info().rss
        except psutil.NoSuchProcess: return 0
    def watch():
        while not ended.wait(0.1): peak[0] = max(peak[0], sum(map(rss, [me, *me.children(recursive=True)])))
    threading.Thread(target=watch, daemon=True).start()
    with tempfile.TemporaryDirectory() as d:
        start = time.perf_counter()
        report = build_data(Run.open(f'{d}/run', new=dict(data=dict(sources=[source]))), progress=False)
        seconds = time.perf_counter() - start
    ended.set()
    print(json.dumps(dict(seconds=round(seconds, 2), mib=round(peak[0]/2**20), files=report['files'], pairs=report['pairs'],
                          kept=report['kept'], leakage={k:report['leakage'][k] for k in ('focus','cui','question','near_duplicate')})))

def main(archive, n=10):
    with tempfile.TemporaryDirectory() as d:
        copies(archive, f'{d}/many.tar.gz', n)
        found = []
        for source in (archive, f'{d}/many.tar.gz'):
            line = subprocess.run([sys.executable, __file__, '--one', source], capture_output=True, text=True, check=True).stdout
            print(line, end='', flush=True); found.append(json.loads(line))
    a,b = found
    print(f'{b["pairs"]/a["pairs"]:.1f} times the pairs: {b["seconds"]/a["seconds"]:.2f} times the seconds, {b["mib"]/a["mib"]:.2f} times the memory')

if __name__ == '__main__': one(sys.argv[2]) if sys.argv[1] == '--one' else main(sys.argv[1], *map(int, sys.argv[2:]))
