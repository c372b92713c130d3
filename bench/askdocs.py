"""Seconds and peak memory of AskDocs on made-up posts with comments:  python bench/askdocs.py [POSTS] [--all]"""
import argparse, json, os, random, resource, tempfile, threading, time
from pathlib import Path
import psutil

words = ('pain knee back doctor tablet week month since after before morning night walking resting swelling fever cough '
         'itching skin blood test normal high low dose meal water sleep work stress allergy pollen season better worse '
         'sometimes always never left right mild sharp dull family history no other illness taking nothing for it').split()
extras = ['**Bold** words.', 'See [a page](https://example.org/p).', 'https://example.org/q', '&gt; quoted line', 'EDIT: typo.',
          'Ask u/some_one in r/health.', 'Mail me at someone@example.org.', '| a | b |\n|:-|:-|\n| 1 | 2 |', '', '', '', '', '', '']
flairs = ['Physician', 'Registered Nurse', 'Layperson/not verified as healthcare professional', None, None, None]
filler = {f'field_{i}':v for i,v in enumerate([None, False, 0, [], {}, 'text', 'another text', True, 1.0, ''])}

def prose(r, n): # Random; words
    "Sentences of random words, with an extra at the end"
    s = [' '.join(r.choices(words, k=12)).capitalize() + '.' for _ in range(max(1, n//12))]
    return ' '.join(s) + '\n\n' + r.choice(extras)

def comment(r): # Random
    "Text of a comment, of which one in eight is worth nothing"
    return r.choice(['[removed]', 'Thanks!', 'NAD but '+prose(r, 40), 'Short one.']) if r.random() < 1/8 else prose(r, r.randint(24, 80))

def write_posts(path, n, r): # File; posts; Random
    "Lines of `n` posts; no two are alike, and every second is by somebody who has asked before"
    heads,ends = ([json.dumps(prose(r, m))[1:-1] for _ in range(4000)] for m in (60, 60))
    rest = json.dumps(dict(subreddit='AskDocs', **filler))[1:]
    with open(path, 'w') as f:
        for i in range(n): f.write(f'{{"id": "p{i:x}", "author": "user_{i%(n//2+1)}", "title": "Pain for {i} days", '
                                   f'"selftext": "{r.choice(heads)}{r.choice(ends)}", {rest}\n')

def write_comments(path, n, posts, r): # File; comments; posts; Random
    "Lines of comments, in another order than the posts, some posts with several and some with none"
    heads,ends = ([json.dumps(o)[1:-1] for o in part] for part in ([comment(r) for _ in range(4000)], [prose(r, 40) for _ in range(4000)]))
    rests = [json.dumps(dict(author_flair_text=o, subreddit='AskDocs', **filler))[1:] for o in flairs]
    with open(path, 'w') as f:
        for i in range(n):
            j = (i*7919) % posts if r.random() < 0.8 else r.randrange(posts)
            f.write(f'{{"id": "c{i:x}", "link_id": "t3_p{j:x}", "parent_id": "t3_p{j:x}", "author": "other_{i%9999}", '
                    f'"body": "{r.choice(heads)} {r.choice(ends) if i%8 else ""}", "score": {r.randint(-2, 40)}, {r.choice(rests)}\n')

def pack(path): # File; returns the compressed one
    "Compress with zstandard, and delete the original"
    import zstandard
    out = path.with_name(path.name + '.zst')
    with open(path, 'rb') as a, open(out, 'wb') as b: zstandard.ZstdCompressor(level=3).copy_stream(a, b)
    path.unlink()
    return out

def cpu_seconds():
    "Processor seconds of this process and of its ended children"
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))

class Peak(threading.Thread):
    "The largest memory of this process and its children together, looked at five times a second"
    def __init__(self): super().__init__(daemon=True); self.bytes,self.ended = 0,threading.Event()
    def run(self):
        me = psutil.Process()
        while not self.ended.wait(0.2):
            total = 0
            for p in [me, *me.children(recursive=True)]:
                try: total += p.memory_full_info().pss # what processes share counts once
                except psutil.Error: continue
            self.bytes = max(self.bytes, total)

def watched(f): # Function; returns its result, seconds, processor seconds, MiB
    "Call it, and measure this process and its children together"
    peak = Peak(); peak.start()
    start,cpu = time.perf_counter(),cpu_seconds()
    result = f()
    seconds = time.perf_counter() - start
    peak.ended.set(); peak.join()
    return result, seconds, cpu_seconds() - cpu, peak.bytes/2**20

def read(spec, out, cores, most): # Source; parquet file to write; processes; row limit; returns rows and account
    "Read and clean a source into a parquet file, batch by batch"
    import pyarrow as pa, pyarrow.parquet as pq
    from medqa_nb.core.askdocs import askdocs_batches
    account,rows,writer = {},0,None
    for batch in askdocs_batches(spec, account, cores=cores, most=most):
        table = pa.Table.from_pylist(batch, schema=writer.schema if writer else schema(pa))
        writer = writer or pq.ParquetWriter(out, table.schema)
        writer.write_table(table); rows += len(batch)
    writer.close()
    return rows, account['funnel']

def stage(spec, folder): # Source; folder; returns rows and funnel
    "The data stage with its default settings: read, clean, look for harm, split, write"
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    run = Run.open(str(folder/'run'), new=dict(data=dict(sources=[f'askdocs:{spec}'])))
    report = build_data(run, progress=False)
    return report['kept'], report['sources'][0]['funnel'] + report['funnel']

def schema(pa): # pyarrow
    "The columns of a row"
    texts = 'key source url focus qtype question answer origin author occupation'.split()
    return pa.schema([(k, pa.string()) for k in texts] + [(k, pa.list_(pa.string())) for k in ('cuis','synonyms')])

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('posts', nargs='?', type=int, default=50_000); p.add_argument('--cores', type=int)
    p.add_argument('--comments', type=float, default=1, help='comments for each post')
    p.add_argument('--all', action='store_true', help='read and clean every thread, and do not split')
    p.add_argument('--plain', action='store_true', help='do not compress the files')
    a,r = p.parse_args(),random.Random(0)
    with tempfile.TemporaryDirectory() as d:
        files = Path(d)/'posts.jsonl', Path(d)/'comments.jsonl'
        write_posts(files[0], a.posts, r); write_comments(files[1], int(a.posts*a.comments), a.posts, r)
        size = sum(f.stat().st_size for f in files)/2**20
        if not a.plain: files = [pack(f) for f in files]
        spec = '+'.join(map(str, files))
        work = (lambda: read(spec, Path(d)/'rows.parquet', a.cores, 0)) if a.all else (lambda: stage(spec, Path(d)))
        (rows,funnel),seconds,cpu,mib = watched(work)
    for o in funnel: print(f'{o["rows"]:>10,}  {o["step"]}')
    print(f'{a.posts:,} posts and {int(a.posts*a.comments):,} comments ({size:,.0f} MiB of lines) -> {rows:,} rows: '
          f'{seconds:.1f} s ({cpu:.1f} s of processor), peak {mib:,.0f} MiB in all processes, {os.cpu_count()} cores')

if __name__ == '__main__': main()
