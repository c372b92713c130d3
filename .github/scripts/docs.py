"""Build the docs site from the notebooks with pandoc, check every internal link, and write README.md from the index.

  python .github/scripts/docs.py            # .site/, and exit 1 on a broken link
  python .github/scripts/docs.py --readme   # README.md only
  python .github/scripts/docs.py --check    # exit 1 if README.md is not what the index says
  python .github/scripts/docs.py --proc     # _proc/, ready for `quarto render`
"""
import argparse, ast, html, json, os, re, shutil, sys, tomllib
from collections import Counter
from pathlib import Path
import nbformat, pypandoc

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT/'.site'
URLS = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']
TAG = 'v' + re.search(r"__version__ = '(.+?)'|__version__ = \"(.+?)\"", (ROOT/'medqa_nb/__init__.py').read_text()).expand(r'\1\2') # what links pin
CSS = '''
:root{color-scheme:light dark;--fg:#1d2330;--bg:#fff;--soft:#f5f6f9;--line:#e1e4ea;--edge:#868e9b;--link:#0a5fb4;--dim:#5d6675}
@media(prefers-color-scheme:dark){:root{--fg:#dfe3ea;--bg:#15181d;--soft:#1e2229;--line:#323843;--edge:#7d8694;--link:#6cb2ff;--dim:#a3acba}}
*{box-sizing:border-box}body{margin:0;font:16px/1.6 system-ui,sans-serif;color:var(--fg);background:var(--bg)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.page{display:grid;grid-template-columns:170px minmax(0,60rem) 190px;gap:2.5rem;max-width:92rem;margin:auto;padding:1.5rem}
header{display:flex;gap:1rem;align-items:center;max-width:92rem;margin:auto;padding:.6rem 1.5rem;border-bottom:1px solid var(--line)}header>a{font-weight:700;color:var(--fg)}
header input{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--edge);border-radius:6px;padding:.25rem .7rem;width:100%}
header form{position:relative;margin-left:auto;flex:0 1 20rem;min-width:0}#hits{position:absolute;right:0;z-index:2;width:min(34rem,92vw);max-height:70vh;overflow:auto;margin:.3rem 0 0;padding:0;list-style:none;background:var(--bg);border-radius:6px}
#hits:not(:empty){border:1px solid var(--edge);box-shadow:0 6px 24px #0004}#hits a{display:block;padding:.4rem .8rem;color:var(--fg)}#hits a:hover,#hits a:focus{background:var(--soft)}#hits small{display:block;color:var(--dim)}
#menu{display:none;font:inherit;color:inherit;background:var(--soft);border:1px solid var(--edge);border-radius:6px;padding:.25rem .7rem}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;background:var(--bg)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
main>p,main>ul,main>ol,main>blockquote{max-width:46rem}main p a,main li a,main td a{text-decoration:underline}
nav{position:sticky;top:1.5rem;align-self:start;max-height:95vh;overflow:auto;font-size:.86rem}nav a{display:block;padding:.12rem 0;color:var(--dim)}
nav a.here{color:var(--fg);font-weight:600}nav b{display:block;margin:.9rem 0 .2rem}nav ul{list-style:none;padding-left:.8rem;margin:0}
h1{line-height:1.2;margin-top:0}h2{margin-top:2.2rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}
blockquote{margin:0 0 1.2rem;color:var(--dim);border-left:3px solid var(--line);padding-left:1rem}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow:auto;font-size:.83rem;line-height:1.45}
code{font-family:ui-monospace,monospace;font-size:.88em;overflow-wrap:anywhere}pre code{overflow-wrap:normal}.out pre{background:none;border-style:dashed}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow:auto;margin:1rem 0}table,tr{border:0}col{width:auto!important}td,th{border:1px solid var(--line);padding:.25rem .6rem;text-align:left;overflow-wrap:normal}
img{max-width:100%}.out img{background:#fff;border-radius:6px}details summary{cursor:pointer;color:var(--dim);font-size:.85rem}
.doc{border-left:3px solid var(--link);padding-left:1rem;margin:1rem 0}.doc p,.doc table{margin:.3rem 0}.doc :target,.doc:target{background:var(--soft)}
.where,footer{font-size:.85rem;color:var(--dim)}footer{display:flex;justify-content:space-between;margin-top:3rem;padding-top:.8rem;border-top:1px solid var(--line)}
span.kw,span.cf,span.im{color:#b0307a}span.st{color:#1f6b33}span.co{color:var(--dim);font-style:italic}span.dv,span.fl{color:#964a00}
@media(prefers-color-scheme:dark){span.kw,span.cf,span.im{color:#f08ac0}span.st{color:#8ecf9b}span.dv,span.fl{color:#f0b070}}
@media(max-width:1000px){.page{grid-template-columns:minmax(0,1fr)}nav{position:static;max-height:none;columns:2}nav.toc{display:none}#menu{display:block}.closed{display:none}.page{padding:1rem}header{padding:.6rem 1rem}main{overflow-wrap:anywhere}}
'''
JS = '''
const box = document.getElementById('q'), hits = document.getElementById('hits'), menu = document.getElementById('menu'), pages = document.getElementById('pages'), root = document.body.dataset.root
menu.onclick = () => menu.setAttribute('aria-expanded', !pages.classList.toggle('closed'))
const load = () => window.SEARCH || document.getElementById('s') || Object.assign(document.head.appendChild(document.createElement('script')), {id:'s', src:root + 'search.js', onload:find})
function find() {
    const words = box.value.toLowerCase().split(/\\s+/).filter(w => w)
    if (!words.length || !window.SEARCH) { hits.replaceChildren(); return }
    const score = ([u, t, h, x]) => words.reduce((s, w) => s && (n => n && s + n)((h.toLowerCase().includes(w) && 9) + (t.toLowerCase().includes(w) && 5) + (x.toLowerCase().includes(w) && 1)), 1)
    const best = window.SEARCH.map(o => [score(o), o]).filter(o => o[0]).sort((a, b) => b[0] - a[0]).slice(0, 12)
    hits.replaceChildren(...best.map(([, [u, t, h, x]]) => {
        const li = document.createElement('li'), a = document.createElement('a'), small = document.createElement('small'), i = Math.max(0, x.toLowerCase().indexOf(words[0]) - 40)
        a.href = root + u; a.textContent = h == t ? t : t + ': ' + h; small.textContent = (i ? '… ' : '') + x.slice(i, i + 130); a.append(small); li.append(a); return li }))
    if (!best.length) hits.append(Object.assign(document.createElement('li'), {textContent:'nothing found'}))
}
box.onfocus = load; box.oninput = () => { load(); find() }
document.onkeydown = e => { if (e.key == '/' && !/INPUT|TEXTAREA/.test(e.target.tagName)) { e.preventDefault(); box.focus() } if (e.key == 'Escape') { box.value = ''; hits.replaceChildren() } }
box.form.onsubmit = e => { e.preventDefault(); hits.querySelector('a')?.click() }
for (const e of document.querySelectorAll('pre, table, #hits, nav')) if (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight) e.tabIndex = 0
'''
GUIDES = ['first', 'gpus', 'costs', 'owndata', 'elsewhere', 'sessions', 'reading', 'trouble', 'safety', 'speed'] # In reading order; others follow

def notebooks():
    "Notebooks in reading order: index, stages, pages, core"
    nbs = ROOT/'nbs'
    return [nbs/'index.ipynb', *sorted(nbs.glob('[0-9]*.ipynb')), *sorted((p for p in nbs.glob('[a-z]*.ipynb') if p.stem != 'index'), key=lambda p: (GUIDES.index(p.stem) if p.stem in GUIDES else 99, p.stem)), *sorted((nbs/'core').glob('*.ipynb'))]

def directives(cell):
    "Words of the `#|` lines of a code cell, and the source without them"
    lines = cell.source.splitlines()
    d = [l[2:].strip().rstrip(':') for l in lines if l.startswith('#|')]
    return ' '.join(d), '\n'.join(l for l in lines if not l.startswith('#|')).strip('\n')

def output_md(o, plain):
    "Markdown of one output; `plain` leaves out what a README cannot show"
    if o.output_type == 'stream': return f'```\n{o.text.rstrip()}\n```'
    if o.output_type == 'error': return ''
    data = o.data
    if 'text/markdown' in data: return data['text/markdown']
    if 'text/html' in data and not plain: return '```{=html}\n' + re.sub(r'<style.*?</style>', '', data['text/html'], flags=re.S) + '\n```'
    if 'image/png' in data and not plain: return f'![Figure of the cell above](data:image/png;base64,{data["image/png"].strip()})'
    text = data.get('text/plain', '')
    return f'```\n{text}\n```' if text and not text.startswith(('<IPython', '<Figure', 'VBox(', 'Form')) else ''

def exported_name(node):
    "Public name that a top-level definition gives: `f`, `Class`, or `Class.method` for `@patch`; None if there is none"
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'): return None
    if not any(isinstance(d, ast.Name) and d.id == 'patch' for d in node.decorator_list): return node.name
    owner = node.args.args[0].annotation
    return f'{owner.id}.{node.name}' if isinstance(owner, ast.Name) else None

def symbols():
    "Where each public name is explained: {name: page#anchor}; a name that two modules use is left out"
    found = []
    for p in notebooks():
        rel = p.relative_to(ROOT/'nbs').with_suffix('.html').as_posix()
        for c in nbformat.read(p, 4).cells:
            if c.cell_type != 'code' or 'export' not in directives(c)[0].split(): continue
            found += [(n, f'{rel}#api-{n}') for o in ast.parse(directives(c)[1]).body if (n := exported_name(o))]
    n = Counter(name for name,_ in found)
    return {name:where for name,where in found if n[name] == 1}

def link_names(body, names, up):
    "Make a public name that the prose sets in code a link to its explanation"
    def link(m):
        where = names.get(html.unescape(m[1]).removesuffix('()'))
        return f'<a href="{up}{where}">{m[0]}</a>' if where else m[0]
    parts = re.split(r'(<pre.*?</pre>|<a .*?</a>|<h\d.*?</h\d>)', body, flags=re.S)
    return ''.join(p if i%2 else re.sub(r'<code>([\w.]+(?:\(\))?)</code>', link, p) for i,p in enumerate(parts))

def type_words(v):
    "What a documented parameter may be: the words of a setting's kind, an annotation, or the type of its default"
    import inspect
    a,d = v.anno,v.default
    if hasattr(a, 'words'): return a.words
    if a not in (None, inspect.Parameter.empty): return getattr(a, '__name__', str(a))
    return '' if d in (None, inspect.Parameter.empty) or callable(d) else type(d).__name__

def meanings(node, sig):
    "{parameters: meaning} of a function: parameters that share a line share its comment, one part each where it has as many parts; what it returns stands apart"
    a = getattr(node, 'args', None)
    lines,out = {},{}
    for o in [*a.posonlyargs, *a.args, *a.kwonlyargs] if a else []: lines.setdefault(o.lineno, []).append(o.arg)
    together = {k:tuple(o for o in ks if o in sig) for ks in lines.values() for k in ks}
    for k,v in sig.items():
        said,back = (re.split(r'(?:^|[.;] )[Rr]eturns (?=\S)', v.docment or '', maxsplit=1) + [''])[:2]
        ks = together.get(k, (k,))
        parts = said.split('; ')
        if len(ks) == 1 or any(sig[o].docment for o in ks[:-1]): out[k,] = said
        elif k == ks[-1]: out.update({(o,):m for o,m in zip(ks, parts)} if len(parts) == len(ks) else {ks:said})
        if back: out['returns',] = back
    return out

def doc_md(source, module):
    "Signatures and documented parameters of what a cell exports, as Markdown"
    import importlib, inspect
    from fastcore.docments import docments
    out,mod = [],importlib.import_module(module)
    for n in ast.parse(source).body:
        if not (name := exported_name(n)): continue
        owner,_,last = name.rpartition('.')
        obj = getattr(getattr(mod, owner, None) if owner else mod, last, None)
        if obj is None: continue
        try: sig = docments(obj, full=True, returns=False)
        except Exception: continue # a signature that docments cannot read has no table
        sig = {k:v for k,v in sig.items() if k not in ('self', 'return')}
        cell = lambda t: t.replace('|', ' or ').replace('<', '&lt;')
        shown = lambda d: d.__name__ if inspect.isroutine(d) else repr(d)
        default = lambda k: '' if k not in sig or (d := sig[k].default) is inspect.Parameter.empty else f'`{s}`' if len(s := shown(d)) < 60 and '|' not in s and s != '<lambda>' else '…'
        rows = [f'| {", ".join(ks)} | {" ".join(dict.fromkeys(type_words(sig[k]) for k in ks if k in sig)).strip()} | {" ".join(filter(None, map(default, ks)))} | {cell(m[:1].upper() + m[1:] if m[:1].isalpha() else m)} |' for ks,m in meanings(n, sig).items()]
        doc = (ast.get_docstring(n) or '').replace('<', '\\<')
        out.append(f':::: {{.doc #api-{name}}}\n**{name}**: {doc}\n\n' + ('| parameter | type | default | meaning |\n|---|---|---|---|\n' + '\n'.join(rows) + '\n' if rows else '') + '\n::::')
    return '\n\n'.join(out)

def notebook_md(path, plain=False):
    "A notebook as Markdown"
    nb,out,module = nbformat.read(path, 4),[],None
    for c in nb.cells:
        if c.cell_type == 'markdown': out.append(c.source); continue
        if c.cell_type != 'code': continue
        d,src = directives(c)
        if m := re.search(r'default_exp (\S+)', d): module = f'medqa_nb.{m[1]}'
        if 'hide' in d.split() or 'default_exp' in d or 'include: false' in d: continue
        exported = 'export' in d.split()
        if src and 'echo: false' not in d:
            code = f'```python\n{src}\n```'
            out.append(f'::: {{.source}}\n{code}\n:::' if exported and not plain else code)
            if exported and module and not plain and (t := doc_md(src, module)): out.append(t)
        for o in [] if 'output: false' in d else c.get('outputs', []):
            if t := output_md(o, plain): out.append(t if plain else f'::: out\n{t}\n:::')
    return '\n\n'.join(out) + '\n'

def link_to_html(md): return re.sub(r'\]\(((?!https?:)[^)#]+)\.ipynb(#[^)]*)?\)', r'](\1.html\2)', md)

def title(path):
    "A notebook's first heading"
    for c in nbformat.read(path, 4).cells:
        if c.cell_type == 'markdown' and (m := re.match(r'# (.+)', c.source)): return m[1]
    return path.stem

def group(rel):
    "Where a page stands in the list beside every page"
    return 'Core' if rel.parts[0] == 'core' else '' if rel.stem == 'index' else 'Stages' if rel.stem[0].isdigit() else 'Guides'

def page(path, pages, names):
    "A notebook as a whole HTML page"
    rel = path.relative_to(ROOT/'nbs').with_suffix('.html')
    up = '../'*(len(rel.parts)-1)
    toc = pypandoc.convert_text(link_to_html(notebook_md(path)), 'html5', 'markdown-yaml_metadata_block', extra_args=['--mathml', '--toc', '--toc-depth=2', '--template', str(TOC)])
    body,_,tree = toc.partition('<!--TOC-->')
    i = next(i for i,p in enumerate(pages) if p[0] == rel)
    colab = URLS['Repository'].replace('https://github.com', 'https://colab.research.google.com/github')
    nb = f'blob/{TAG}/nbs/{path.relative_to(ROOT/"nbs").as_posix()}'
    where = f'<p class="where"><a href="{colab}/{nb}">Open in Colab</a> · <a href="{URLS["Repository"]}/{nb}">This notebook on GitHub</a></p>'
    body = link_names(body, names, up).replace('<th></th>', '<td></td>')
    body = re.sub(r'<img[^>]*colab-badge[^>]*>', 'Open in Colab', body) # the badge is a picture of another site
    if rel.stem != 'index': body = re.sub(r'<p><a [^>]*>Open in Colab</a></p>', '', body, count=1).replace('</h1>', '</h1>\n' + where, 1)
    step = lambda j,form: f'<a href="{up}{pages[j][0].as_posix()}">{form.format(html.escape(pages[j][1]))}</a>' if 0 <= j < len(pages) else '<span></span>'
    foot = f'<footer>{step(i-1, "← {}")}<span>not medical advice</span>{step(i+1, "{} →")}</footer>'
    links = ''.join((f'<b>{group(r)}</b>' if first else '') +
                    f'<a href="{up}{r.as_posix()}"{" class=here" if r == rel else ""}>{html.escape(t)}</a>' for r,t,first in pages)
    return rel, f'''<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{html.escape(title(path))} · medqa_nb</title><link rel="icon" href="data:,"><link rel="stylesheet" href="{up}style.css"></head><body data-root="{up}"><a class="skip" href="#main">To the text</a>
<header><a href="{up}index.html">medqa_nb</a><button id="menu" aria-expanded="false" aria-controls="pages">Pages</button><form role="search"><input id="q" type="search" placeholder="Search (press /)" aria-label="Search" autocomplete="off"><ul id="hits" aria-live="polite" aria-label="Search results"></ul></form></header>
<div class="page"><nav id="pages" class="closed" aria-label="Pages">{links}</nav><main id="main">{body}{foot}</main><nav class="toc" aria-label="On this page">{tree}</nav></div><script src="{up}site.js"></script></body></html>'''

def sections_of(rel, text):
    "Searchable parts of a page: [address, title of the page, heading, words]"
    main = re.sub(r'<pre.*?</pre>|<style.*?</style>|<svg.*?</svg>', ' ', text.split('<main', 1)[1].split('<footer', 1)[0], flags=re.S)
    plain = lambda t: re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]+>', ' ', t))).strip()
    parts = re.split(r'<h([12])[^>]*?id="([^"]+)"[^>]*>(.*?)</h\1>', main, flags=re.S)
    name = plain(parts[3]) if len(parts) > 3 else rel.stem
    return [[rel.as_posix() + (f'#{parts[i+1]}' if parts[i] == '2' else ''), name, plain(parts[i+2]), plain(parts[i+3])[:1500]] for i in range(1, len(parts), 4)]

def llms_txt(nbs):
    "The site for a language model: what it is, and the Markdown of every page"
    about = lambda p: next((' '.join(l.lstrip('> ') for l in c.source.splitlines() if l.startswith('>')) for c in nbformat.read(p, 4).cells if c.cell_type == 'markdown' and '>' in c.source), '')
    rel = lambda p: p.relative_to(ROOT/'nbs').with_suffix('.html.md').as_posix()
    parts = [f'# medqa_nb\n\n> {about(nbs[0])}\n\nNothing here is medical advice.']
    for g in ('Stages', 'Guides', 'Core'): parts.append(f'## {g}\n\n' + '\n'.join(f'- [{title(p)}]({rel(p)}): {about(p)}' for p in nbs[1:] if group(p.relative_to(ROOT/'nbs')) == g))
    return '\n\n'.join(parts) + '\n'

TOC = OUT/'template.html'

def build():
    "Write the site; returns the broken links"
    shutil.rmtree(OUT, ignore_errors=True); OUT.mkdir()
    (OUT/'style.css').write_text(CSS); TOC.write_text('$body$<!--TOC-->$toc$')
    nbs = notebooks()
    rels = [p.relative_to(ROOT/'nbs').with_suffix('.html') for p in nbs]
    pages = [(r, title(p), bool(i) and group(r) != group(rels[i-1])) for i,(p,r) in enumerate(zip(nbs, rels))]
    names,found = symbols(),[]
    for p in nbs:
        rel,text = page(p, pages, names)
        (OUT/rel).parent.mkdir(exist_ok=True); (OUT/rel).write_text(text)
        (OUT/rel).with_suffix('.html.md').write_text(notebook_md(p, plain=True)); found += sections_of(rel, text)
    (OUT/'search.js').write_text('window.SEARCH = ' + json.dumps(found, ensure_ascii=False)); (OUT/'site.js').write_text(JS); (OUT/'llms.txt').write_text(llms_txt(nbs))
    TOC.unlink()
    return broken_links()

def broken_links():
    "Internal links whose file or anchor does not exist"
    bad,ids = [],{p:set(re.findall(r'id="([^"]+)"', p.read_text())) for p in OUT.rglob('*.html')}
    for p in ids:
        for href in re.findall(r'href="([^"]+)"', p.read_text()):
            if re.match(r'[a-z]+:', href): continue
            file,_,anchor = href.partition('#')
            target = (p.parent/file).resolve() if file else p
            if not target.exists() or (anchor and target in ids and anchor not in ids[target]): bad.append(f'{p.relative_to(OUT)}: {href}')
    return bad

def readme():
    "README.md from the index: links go to the notebooks"
    md = re.sub(r'\]\(((?:core/)?\w+\.ipynb)\)', r'](nbs/\1)', notebook_md(ROOT/'nbs/index.ipynb', plain=True))
    return '<!-- made from nbs/index.ipynb by .github/scripts/docs.py; edit there -->\n\n' + pypandoc.convert_text(md, 'gfm', 'gfm', extra_args=['--wrap=preserve'])

def only_definitions(cell):
    "Does nbdev's docs build execute this cell? Exports, pure imports and show_doc, but no demonstration, which may train a model"
    if cell.cell_type != 'code' or not cell.source: return False
    d = cell.directives_
    if d.keys() & {'export', 'exports', 'exporti', 'exec_doc'}: return True
    trees = cell.parsed_() or []
    return str(d.get('eval', '')).lower() != 'false' and bool(trees) and (
        all(isinstance(t, (ast.Import, ast.ImportFrom)) for t in trees) or 'show_doc(' in cell.source)

def processed():
    "The notebooks as nbdev prepares them for Quarto, in _proc; workers import this file, so that the patch below holds there too"
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
    from nbdev.serve import proc_nbs
    refresh_quarto_yml(); nbdev_sidebar.__wrapped__()
    return proc_nbs(force=True)

if '--proc' in sys.argv:
    import nbdev.processors
    nbdev.processors._do_eval = only_definitions

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--readme', action='store_true'); ap.add_argument('--check', action='store_true')
    ap.add_argument('--proc', action='store_true')
    a = ap.parse_args()
    os.chdir(ROOT)
    if a.proc: print(len(list(processed().rglob('*.ipynb'))), 'notebooks in _proc'); sys.exit()
    if a.readme: (ROOT/'README.md').write_text(readme()); sys.exit()
    if a.check:
        same = (ROOT/'README.md').read_text() == readme()
        sys.exit(None if same else 'README.md is not what nbs/index.ipynb says: python .github/scripts/docs.py --readme')
    bad = build()
    print(f'{len(list(OUT.rglob("*.html")))} pages in {OUT.name}, {len(bad)} broken links', *bad, sep='\n')
    sys.exit(1 if bad else 0)
