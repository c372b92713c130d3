"The parts of two APIs that checkpoints use, spoken over real sockets: Google Drive (v3) and the Hugging Face hub."
import base64, hashlib, json, re, threading, time, urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def wait_for(f, seconds=120): # What is waited for
    "Look until it is true"
    end = time.time() + seconds
    while not f() and time.time() < end: time.sleep(.05)
    assert f()

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def body(self):
        if self.headers.get('Transfer-Encoding') == 'chunked':
            out = b''
            while n := int(self.rfile.readline(), 16): out += self.rfile.read(n); self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get('Content-Length') or 0))
    def answer(self, status, obj=None, headers={}, raw=None):
        data = raw if raw is not None else b'' if obj is None else json.dumps(obj).encode()
        self.send_response(status)
        for k,v in {'Content-Type':'application/json', 'Content-Length':str(len(data)), **headers}.items(): self.send_header(k, v)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(data)
    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        self.server.log.append((self.command, url.path))
        self.route(url.path, dict(urllib.parse.parse_qsl(url.query)), self.body())
    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

@contextmanager
def serving(route, **state): # A method that answers; what the server holds
    "A server on a free port of this machine; yields it, with its address as `url`"
    s = ThreadingHTTPServer(('127.0.0.1', 0), type('H', (Handler,), dict(route=route)))
    s.log,s.url = [],f'http://127.0.0.1:{s.server_address[1]}'
    for k,v in state.items(): setattr(s, k, v)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    try: yield s
    finally: s.shutdown(); s.server_close()

def drive_route(self, path, query, body):
    "files.list with `name = '…' and 'parent' in parents`, files.delete; `server.files` is {id: {name, parent, bytes}}"
    s = self.server
    if s.status != 200: return self.answer(s.status, dict(error=dict(code=s.status, message='Insufficient Permission')))
    if self.command == 'DELETE': s.files.pop(urllib.parse.unquote(path.rsplit('/', 1)[1])); return self.answer(204)
    assert path == '/drive/v3/files', path
    name,parent = re.fullmatch(r"name = '(.*)' and '(.*)' in parents and trashed = false", query['q']).groups()
    found = [(i, f) for i,f in s.files.items() if f['name'] == name.replace("\\'", "'") and f['parent'] == parent]
    self.answer(200, dict(files=[dict(id=i, **({} if f['bytes'] is None else dict(size=str(len(f['bytes'])), sha256Checksum=hashlib.sha256(f['bytes']).hexdigest()))) for i,f in found]))

def hub_route(self, path, query, body):
    "One model repository with git-LFS uploads; `server.files` is {path: bytes}, `server.lfs` {sha256: bytes}"
    s,repo = self.server,'me/backup'
    if path.startswith('/lfs/'): s.lfs[path[5:]] = body if not s.damage else body[:-1]; return self.answer(200) # a signed address
    if self.headers.get('authorization') != f'Bearer {s.token}':
        return self.answer(401, dict(error='Invalid username or password.'), {'X-Error-Message':'Invalid username or password.'})
    if path == '/api/repos/create':
        if s.made: return self.answer(409, dict(error='You already created this model repo', url=f'{s.url}/{repo}'))
        o = json.loads(body)
        s.made,s.private = True,o.get('private', o.get('visibility') == 'private') # the key depends on the client's version
        return self.answer(200, dict(url=f'{s.url}/{repo}'))
    if path == f'/api/models/{repo}': return self.answer(200, dict(_id='1', id=repo, private=s.private, sha='0'*40, siblings=[dict(rfilename=f) for f in s.files], tags=[], downloads=0, likes=0))
    if path.startswith(f'/api/models/{repo}/tree/'): return self.answer(200, [entry(f, b) for f,b in s.files.items()])
    if path.startswith(f'/api/models/{repo}/paths-info/'):
        names = urllib.parse.parse_qs(body.decode()).get('paths') or json.loads(body)['paths']
        return self.answer(200, [entry(f, s.files[f]) for f in names if f in s.files])
    if path.startswith(f'/api/models/{repo}/preupload/'):
        return self.answer(200, dict(files=[dict(path=f['path'], uploadMode='lfs' if f['path'].endswith('.tar') else 'regular', shouldIgnore=False) for f in json.loads(body)['files']]))
    if path == f'/{repo}.git/info/lfs/objects/batch':
        return self.answer(200, dict(transfer='basic', objects=[dict(o, actions=dict(upload=dict(href=f'{s.url}/lfs/{o["oid"]}'))) for o in json.loads(body)['objects']]))
    if path.startswith(f'/api/models/{repo}/commit/'):
        for o in map(json.loads, body.splitlines()):
            v = o['value']
            if o['key'] == 'file': s.files[v['path']] = base64.b64decode(v['content'])
            if o['key'] == 'lfsFile': s.files[v['path']] = s.lfs[v['oid']]
            if o['key'] == 'deletedFile': s.files.pop(v['path'])
        return self.answer(200, dict(commitUrl=f'{s.url}/{repo}/commit/1', commitOid='1'*40, success=True))
    if path.startswith(f'/{repo}/resolve/'):
        data = s.files.get(urllib.parse.unquote(path.split('/', 5)[5]))
        if data is None: return self.answer(404, headers={'X-Error-Code':'EntryNotFound'})
        return self.answer(200, raw=data, headers={'ETag':f'"{hashlib.sha256(data).hexdigest()}"', 'X-Repo-Commit':'0'*40, 'Content-Type':'application/octet-stream'})
    self.answer(404, dict(error=f'unknown: {self.command} {path}'))

def entry(name, data): # As the hub lists a file
    lfs = dict(lfs=dict(oid=hashlib.sha256(data).hexdigest(), size=len(data), pointerSize=100)) if name.endswith('.tar') else {}
    return dict(type='file', path=name, size=len(data), oid=hashlib.sha1(data).hexdigest(), **lfs)

def releases_route(self, path, query, body):
    "Any number of repositories; `server.repos` is {(kind, name): {private, files}}, `server.lfs` {sha256: bytes}; `server.tokens` is {token: answer of whoami}"
    s = self.server
    if path.startswith('/lfs/'):
        if s.slow: time.sleep(s.slow)
        s.lfs[path[5:]] = body if not s.damage else body[:-1]; return self.answer(200)
    who = s.tokens.get((self.headers.get('authorization') or '').removeprefix('Bearer '))
    if not who: return self.answer(401, dict(error='Invalid username or password.'), {'X-Error-Message':'Invalid username or password.'})
    if path == '/api/whoami-v2': return self.answer(200, who)
    if path == '/api/validate-yaml': return self.answer(200, dict(errors=[], warnings=[])) # of a card's head
    if path == '/api/repos/create':
        o = json.loads(body)
        key = f'{o.get("type") or "model"}s', f'{o.get("organization") or who["name"]}/{o["name"]}' if '/' not in o['name'] else o['name']
        if key in s.repos: return self.answer(409, dict(error='You already created this repo', url=f'{s.url}/{key[1]}'))
        s.repos[key] = dict(private=o.get('private', o.get('visibility') == 'private'), files={}, commits=0)
        return self.answer(200, dict(url=f'{s.url}/{key[1]}'))
    if m := re.fullmatch(r'/(?:(datasets)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch', path):
        return self.answer(200, dict(transfer='basic', objects=[o if o['oid'] in s.lfs else dict(o, actions=dict(upload=dict(href=f'{s.url}/lfs/{o["oid"]}'))) for o in json.loads(body)['objects']]))
    if m := re.fullmatch(r'/(?:(datasets)/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)', path): kind,name,rest = m[1] or 'models', m[2], f'resolve/{m[3]}'
    else:
        m = re.fullmatch(r'/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?', path)
        if not m: return self.answer(404, dict(error=f'unknown: {self.command} {path}'))
        kind,name,rest = m[1], m[2], m[3] or ''
    r = s.repos.get((kind, name))
    if r is None: return self.answer(404, dict(error='Repository not found'), {'X-Error-Code':'RepoNotFound', 'X-Error-Message':'Repository not found'})
    if rest in ('', 'revision/main'): return self.answer(200, dict(_id='1', id=name, private=r['private'], sha='0'*40, siblings=[dict(rfilename=f) for f in r['files']], tags=[], downloads=0, likes=0))
    if rest.startswith('tree/'): return self.answer(200, [release_entry(f, b) for f,b in r['files'].items()])
    if rest.startswith('paths-info/'):
        names = urllib.parse.parse_qs(body.decode()).get('paths') or json.loads(body)['paths']
        return self.answer(200, [release_entry(f, r['files'][f]) for f in names if f in r['files']])
    if rest.startswith('preupload/'): return self.answer(200, dict(files=[dict(path=f['path'], uploadMode='lfs' if large(f['path']) else 'regular', shouldIgnore=False) for f in json.loads(body)['files']]))
    if rest.startswith('commit/'):
        new = {}
        for o in map(json.loads, body.splitlines()):
            v = o['value']
            if o['key'] == 'file': new[v['path']] = base64.b64decode(v['content'])
            if o['key'] == 'lfsFile': new[v['path']] = s.lfs[v['oid']]
        r['files'] |= new; r['commits'] += 1
        return self.answer(200, dict(commitUrl=f'{s.url}/{name}/commit/1', commitOid='1'*40, success=True))
    if rest.startswith('resolve/'):
        data = r['files'].get(urllib.parse.unquote(rest[8:]))
        if data is None: return self.answer(404, headers={'X-Error-Code':'EntryNotFound'})
        return self.answer(200, raw=data, headers={'ETag':f'"{hashlib.sha256(data).hexdigest()}"', 'X-Repo-Commit':'0'*40, 'Content-Type':'application/octet-stream'})
    self.answer(404, dict(error=f'unknown: {self.command} {path}'))

def large(name): return name.endswith(('.safetensors', '.gguf', '.parquet'))

def release_entry(name, data): # As the hub lists a file: small ones by git's hash, large ones by their content's
    lfs = dict(lfs=dict(oid=hashlib.sha256(data).hexdigest(), size=len(data), pointerSize=100)) if large(name) else {}
    return dict(type='file', path=name, size=len(data), oid=hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest(), **lfs)

def gate_route(self, path, query, body):
    "A gated model: `server.good` are tokens that exist, `server.accepted` those that may read it; `server.bytes` is its size"
    s,token = self.server,(self.headers.get('authorization') or '').removeprefix('Bearer ')
    if path == '/api/whoami-v2': return self.answer(200, dict(name='me', type='user')) if token in s.good else self.answer(401, dict(error='Invalid user token.'))
    if path.endswith('/auth-check'):
        if token in s.accepted: return self.answer(200, {})
        if token in s.good and 'meta-llama' in path: return self.answer(403, headers={'X-Error-Code':'GatedRepo', 'X-Error-Message':'Access to model is restricted'})
        return self.answer(401 if token not in s.good else 404, headers={'X-Error-Code':'RepoNotFound'} if token in s.good else {})
    if path.startswith('/api/models/'): return self.answer(200, dict(_id='1', id='x/y', private=False, sha='0'*40, tags=[], siblings=[dict(rfilename='model.safetensors', size=s.bytes)]))
    self.answer(404)
