"""A stand-in for the parts of the Anthropic API that augmentation uses, spoken over a real socket: models, token counts, messages, batches.

It keeps the books: `paid` counts each (row, attempt) that was answered in any batch, `dollars` what all answers cost, `probe_dollars` what those outside batches did. Faults are switched on by
`faults`, {name: probability}. As a program it serves until it is ended:  python tests/claude.py  prints its address.
"""
import json, random, re, sys, threading, time, urllib.parse
from time import time as now # the server's own clock, whatever a test does to the client's
from collections import Counter
from contextlib import contextmanager
from servers import Handler, serving

PRICE = .1e-6, .5e-6 # claude-haiku-5-5, dollars a token
cap = lambda on=True: dict(supported=on)

def model(id, lifecycle='active', **over):
    "As the API describes a model"
    caps = {**{k:cap() for k in 'batch citations code_execution image_input pdf_input server_tools structured_outputs thinking effort context_management'.split()}, **over}
    return dict(id=id, type='model', display_name=id, created_at='2026-10-07T00:00:00Z', lifecycle=lifecycle, capabilities=caps, max_input_tokens=10**6, max_tokens=64000,
                deprecated_at=None if lifecycle == 'active' else '2026-01-01T00:00:00Z', retires_at=None)

MODELS = {m['id']:m for m in (model('claude-haiku-5-5'), model('claude-old', 'retired'), model('claude-fading', 'deprecated'), model('claude-single', batch=cap(False)))}

def tokens(params): return len(json.dumps({k:v for k,v in params.items() if k != 'max_tokens'}))//4 + 1

def restructured(params):
    "What a careful model would answer: the passage's sentences, sorted into the parts of the schema"
    want = params['output_config']['format']['schema']['properties']
    said = params['messages'][0]['content']
    if 'question' in want:
        q,name = re.search(r'Question: (.*)', said)[1],re.search(r'Condition: (.*)', said)[1]
        return json.dumps(dict(question=f'I want to understand this about {name}: {q}'))
    out = dict.fromkeys(want, '')
    for s in re.split(r'(?<=[.!?])\s+', ' '.join(said.partition('Passage:')[2].split())):
        k = next((k for k,p in dict(next_steps=r'\bcall |see a doctor|right away|emergency|doctor', treatments=r'treat|medicine|therap|drug|surgery|prevent',
                                    symptoms=r'symptom|sign|pain|fever|feel', disclaimers=r'not known|not clear|may not').items() if re.search(p, s, re.I)), 'conditions')
        out[k] = f'{out[k]} {s}'.strip()
    return json.dumps(out)

def error(kind, text='of a fault'): return dict(type='error', error=dict(type=kind, message=text), request_id='req_1')

def message(s, params, rng=None):
    "An answer, perhaps a strange one; returns (message, dollars at the list price)"
    text,stop = s.write(params),'end_turn'
    hit = lambda k: rng and rng.random() < s.faults.get(k, 0)
    if hit('refusal'): text,stop = 'I would rather not.','refusal'
    elif hit('truncated'): text,stop = text[:len(text)//2],'max_tokens'
    elif hit('malformed'): text = 'Here you are: ' + text[:40]
    went,came = tokens(params),min(params['max_tokens'], params['max_tokens'] if stop == 'max_tokens' else len(text)//4 + 40)
    content = [dict(type='thinking', thinking='The passage is short.', signature='x'), dict(type='text', text=text)]
    return dict(id='msg_1', type='message', role='assistant', model=params['model'], content=content, stop_reason=stop, stop_sequence=None,
                usage=dict(input_tokens=went, output_tokens=came, cache_creation_input_tokens=0, cache_read_input_tokens=0)), went*PRICE[0] + came*PRICE[1]

def result(s, params, rng):
    "What becomes of a request in a batch; returns (result, dollars)"
    hit = lambda k: rng.random() < s.faults.get(k, 0)
    if hit('expired'): return dict(type='expired'), 0
    if hit('invalid'): return dict(type='errored', error=error('invalid_request_error')), 0
    if hit('errored'): return dict(type='errored', error=error(rng.choice(['overloaded_error', 'api_error']))), 0
    m,cost = message(s, params, rng)
    return dict(type='succeeded', message=m), cost/2

def stamp(t): return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(t)) + f'.{int(t%1*1e6):06d}Z'

def accept(s, requests):
    "Make a batch: from here on its answers are paid"
    with s.lock:
        b = dict(id=f'msgbatch_{len(s.batches):06d}', made=now(), requests=requests, canceled=None, delay=s.delay*s.rng.uniform(.5, 1.5), results=None)
        for r in requests: s.accepted[r['custom_id']] += 1
        s.batches.append(b)
    return b

def ended(b): return now() >= min(b['made'] + b['delay'], b['canceled'] or 9e9)

def results(s, b):
    "Lines in any order, made once"
    with s.lock:
        if b['results'] is None:
            out = []
            for r in b['requests']:
                o,cost = (dict(type='canceled'), 0) if b['canceled'] and s.rng.random() < .7 else result(s, r['params'], s.rng) # some were done before
                if o['type'] == 'succeeded': s.paid[r['custom_id']] += 1; s.dollars += cost
                out.append((r['custom_id'], o))
            s.rng.shuffle(out); b['results'] = out
        return b['results']

def shown(s, b):
    "As the API describes a batch: its counts are zero until it has ended"
    over,n = ended(b),Counter()
    if over: n = Counter(o['type'] for _,o in results(s, b))
    count = dict(processing=0 if over else len(b['requests']), **{k:n[k] for k in ('succeeded', 'errored', 'canceled', 'expired')})
    return dict(id=b['id'], type='message_batch', processing_status='ended' if over else 'canceling' if b['canceled'] else 'in_progress', created_at=stamp(b['made']), expires_at=stamp(b['made'] + 86400),
                ended_at=stamp(b['made'] + b['delay']) if over else None, archived_at=None, cancel_initiated_at=None, request_counts=count,
                results_url=f'{s.url}/v1/messages/batches/{b["id"]}/results' if over else None)

def hang_up(self):
    "Cut the connection"
    self.close_connection = True
    try: self.connection.shutdown(2)
    except OSError: pass # the other side was faster

def claude_route(self, path, query, body):
    s = self.server
    hit = lambda k: s.rng.random() < s.faults.get(k, 0)
    if s.key not in (self.headers.get('x-api-key'), (self.headers.get('authorization') or '').removeprefix('Bearer ')): return self.answer(401, error('authentication_error', 'invalid x-api-key'))
    if hit('slow'): time.sleep(s.rng.uniform(0, s.slow))
    create = self.command == 'POST' and path == '/v1/messages/batches'
    if hit('cut_before'): return hang_up(self)
    for status,kind in ((429, 'rate_limit_error'), (500, 'api_error'), (529, 'overloaded_error')):
        if hit(str(status)):
            if create and status != 429 and s.rng.random() < .5: accept(s, json.loads(body)['requests']) # an error on the way back
            return self.answer(status, error(kind), {'retry-after':'0'})
    if m := re.fullmatch('/v1/models/(.*)', path):
        o = MODELS.get(urllib.parse.unquote(m[1]))
        return self.answer(200, o) if o else self.answer(404, error('not_found_error', 'model'))
    if path == '/v1/messages/count_tokens': return self.answer(200, dict(input_tokens=tokens(json.loads(body))))
    if path == '/v1/messages':
        if not s.credit: return self.answer(400, error('invalid_request_error', 'Your credit balance is too low to access the Anthropic API.'))
        m,cost = message(s, json.loads(body))
        with s.lock: s.dollars += cost; s.probe_dollars += cost; s.probes += 1
        return self.answer(200, m)
    if create:
        if not s.credit: return self.answer(402, error('billing_error', 'no credit'))
        b = accept(s, json.loads(body)['requests'])
        return hang_up(self) if hit('cut_after') else self.answer(200, shown(s, b))
    if path == '/v1/messages/batches':
        some = list(reversed(s.batches))
        if after := query.get('after_id'): some = some[[b['id'] for b in some].index(after) + 1:]
        n = int(query.get('limit', 20))
        return self.answer(200, dict(data=[shown(s, b) for b in some[:n]], has_more=len(some) > n, first_id=some[0]['id'] if some else None, last_id=some[:n][-1]['id'] if some else None))
    m = re.fullmatch(r'/v1/messages/batches/(\w+)(/\w+)?', path)
    b = m and next((b for b in s.batches if b['id'] == m[1]), None)
    if not b: return self.answer(404, error('not_found_error', path))
    if m[2] == '/cancel': b['canceled'] = now() + s.canceling
    if m[2] != '/results': return self.answer(200, shown(s, b))
    lines = [json.dumps(dict(custom_id=i, result=o)) for i,o in results(s, b)]
    lines = [(l[:len(l)//2] if s.rng.random() < .5 else l[:9]) if hit('broken_line') else l for l in lines]
    data = ('\n'.join(lines) + '\n').encode()
    if hit('cut_results'):
        self.send_response(200); self.send_header('Content-Length', str(len(data))); self.end_headers(); self.wfile.write(data[:len(data)//2]); self.wfile.flush()
        return hang_up(self)
    self.answer(200, raw=data, headers={'Content-Type':'application/x-jsonl'})

@contextmanager
def claude(seed=0, **over):
    "The server; yields it"
    state = dict(key='sk-test', credit=True, faults={}, batches=[], accepted=Counter(), paid=Counter(), dollars=0., probe_dollars=0., probes=0, delay=.05, slow=.1, canceling=.5, rng=random.Random(seed), lock=threading.RLock(), write=restructured)
    with serving(claude_route, **{**state, **over}) as s:
        loud,s.handle_error = s.handle_error,lambda *a: None if isinstance(sys.exc_info()[1], ConnectionError) else loud(*a) # killed clients
        yield s

if __name__ == '__main__':
    with claude() as s:
        print(s.url, flush=True)
        sys.stdin.read() # until its parent is gone
