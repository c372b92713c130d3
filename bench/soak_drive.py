"""Checkpoints published into a Drive that misbehaves:

    python bench/soak_drive.py [ROUNDS [SEED]]        (root, Linux with FUSE; pip install mfusepy)

The Drive is a real file system: a FUSE mount over a tmpfs of 64 MiB. In each of ROUNDS rounds (40) one fault is on for a few seconds while a "training" hands over a checkpoint
of 9 MiB every 0.4 s: EIO or ENOTCONN in one of five operations, files whose end is lost when they are closed, files that show up empty for a while, copies named "x (1).tar", a disk filled
by somebody else, a mount that goes away (once for a minute, leaving an empty folder in its place) and comes back. All the time it is checked on the disk behind the mount that what the
publisher calls durable is there, byte for byte, and how long a hand-over takes.
"""
import errno, hashlib, json, os, random, shutil, subprocess, sys, tempfile, threading, time
from pathlib import Path

FAULTS = ('EIO', 'ENOTCONN', 'truncated', 'delayed', 'duplicated', 'full', 'gone')

def serve(back, mount, control):
    "A file system that passes everything on to the folder `back`, with the fault that `control` names"
    import mfusepy as fuse
    rng = random.Random(0)
    class Faulty(fuse.Operations):
        use_ns = True
        def __init__(self): self.written,self.wrote,self.fault = {},set(),None
        def now(self, path=None, may_fail=True): # The path behind; raises the fault in force
            fault = Path(control).read_text().strip()
            if may_fail and fault in ('EIO', 'ENOTCONN') and rng.random() < .2: raise fuse.FuseOSError(getattr(errno, fault))
            self.fault = fault
            return back + (path or '')
        def hidden(self, path): return self.fault == 'delayed' and time.time() - self.written.get(path, 0) < 1.5
        def getattr(self, path, fh=None):
            st = os.lstat(self.now(path, fh is not None))
            out = {k:getattr(st, k) for k in ('st_gid', 'st_mode', 'st_nlink', 'st_size', 'st_uid')} | {k:getattr(st, f'{k}_ns') for k in ('st_atime', 'st_ctime', 'st_mtime')}
            return {**out, 'st_size':0} if self.hidden(path) else out
        def readdir(self, path, fh): return ['.', '..', *os.listdir(self.now(path))]
        def create(self, path, mode, fi=None): return os.open(self.now(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        def open(self, path, flags): return os.open(self.now(path), flags)
        def read(self, path, size, offset, fh): self.now(); return b'' if self.hidden(path) else os.pread(fh, size, offset)
        def write(self, path, data, offset, fh): self.now(); self.written[path] = time.time(); self.wrote.add(fh); return os.pwrite(fh, data, offset)
        def truncate(self, path, length, fh=None): os.truncate(self.now(path), length)
        def release(self, path, fh):
            os.close(fh)
            p,wrote = Path(back + path),fh in self.wrote
            self.wrote.discard(fh)
            if wrote and p.exists():
                if self.fault == 'truncated' and rng.random() < .5: os.truncate(p, max(0, p.stat().st_size - 5000))
        def unlink(self, path): os.unlink(self.now(path))
        def rename(self, old, new):
            self.now()
            os.rename(back + old, back + new)
            self.written[new] = self.written.pop(old, 0)
            p = Path(back + new)
            if self.fault == 'duplicated' and shutil.disk_usage(back).free > 3*p.stat().st_size: shutil.copy(p, p.with_name(f'{p.stem} (1){p.suffix}'))
        def mkdir(self, path, mode): os.mkdir(self.now(path), mode)
        def rmdir(self, path): os.rmdir(self.now(path))
        def fsync(self, path, datasync, fh): os.fsync(fh)
        def statfs(self, path):
            st = os.statvfs(self.now(path))
            return {k:getattr(st, k) for k in ('f_bavail', 'f_bfree', 'f_blocks', 'f_bsize', 'f_favail', 'f_ffree', 'f_files', 'f_flag', 'f_frsize', 'f_namemax')}
    fuse.FUSE(Faulty(), mount, foreground=True, nothreads=True, allow_other=True, direct_io=True, attr_timeout=0, entry_timeout=0)

class Drive:
    "The mount and the disk behind it"
    def __init__(self, d):
        self.d,self.back,self.mount,self.control,self.proc = d,d/'cloud',d/'drive',d/'fault',None
        for p in (self.back, self.mount): p.mkdir()
        if os.system(f'mount -t tmpfs -o size=64m none {self.back}'): sys.exit('this machine allows no mounts')
        self.fault('none')
        self.up()
    def fault(self, name): self.control.write_text(name)
    def up(self):
        self.proc = subprocess.Popen([sys.executable, __file__, 'serve', str(self.back), str(self.mount), str(self.control)])
        while not os.path.ismount(self.mount): time.sleep(.05)
    def down(self):
        os.system(f'fusermount3 -u -z {self.mount} 2>/dev/null || fusermount -u -z {self.mount} 2>/dev/null || umount -l {self.mount}')
        self.proc.wait()

def whole(folder, step): # Folder behind the mount; step. Is it there, byte for byte?
    try:
        m = json.loads((folder/f'step-{step:06d}.json').read_text())
        return hashlib.sha256((folder/f'step-{step:06d}.tar').read_bytes()).hexdigest() == m['sha256']
    except (OSError, ValueError, KeyError): return False

def claimed(state): # publication.json; returns the step that is called durable on Drive
    try: return json.loads(state.read_text())['durable'].get('Drive', {}).get('step')
    except (OSError, ValueError): return None

class Training(threading.Thread):
    "Hands over a checkpoint every 0.4 s, and looks behind the mount"
    def __init__(self, d, publisher, state, behind):
        super().__init__(daemon=True)
        self.d,self.publisher,self.state,self.behind,self.step,self.slow,self.lost,self.checks,self.best,self.on = d,publisher,state,behind,0,[],[],0,None,True
    def run(self):
        while self.on:
            self.step += 1
            f = self.d/'work'/f'checkpoint-{self.step}'; f.mkdir(parents=True)
            (f/'adapter_model.safetensors').write_bytes(os.urandom(9 << 20))
            t0 = time.perf_counter()
            self.publisher.add(f, self.step, best=self.best)
            self.slow.append(time.perf_counter() - t0)
            for _ in range(4): time.sleep(.1); self.look()
    def look(self):
        s = claimed(self.state)
        if s is None: return
        self.checks += 1
        if not whole(self.behind, s) and claimed(self.state) == s and not whole(self.behind, s): self.lost.append((self.step, s))

def main(rounds='40', seed='0'):
    from medqa_nb.core.checkpoints import FolderStore, Publisher
    rng,d,seen,shown = random.Random(int(seed)),Path(tempfile.mkdtemp(prefix='drive-')),{},0
    drive = Drive(d)
    (drive.mount/'run.yaml').write_text('')
    state,said = d/'publication.json',[]
    p = Publisher(FolderStore(d/'here'), [FolderStore(drive.mount/'checkpoints', drive.mount/'run.yaml', 'Drive')], say=said.append, state=state, waits=(.2, .4, .8)).adopt()
    p.thread.start()
    t = Training(d, p, state, drive.back/'checkpoints'); t.start()
    try:
        while not claimed(state): time.sleep(.1)
        t.best = claimed(state)
        for i in range(int(rounds)):
            name = FAULTS[i % len(FAULTS)] if i < 2*len(FAULTS) else rng.choice(FAULTS)
            long,filler = name == 'gone' and seen.get(name, 0) == 0,drive.back/'somebody_else'
            drive.fault(name)
            if name == 'gone': drive.down()
            if name == 'full':
                try: filler.write_bytes(b'x'*(shutil.disk_usage(drive.back).free - (4 << 20)))
                except OSError: pass
            time.sleep(60 if long else rng.uniform(1.5, 4))
            shown += 'Drive' in json.loads(state.read_text())['trouble']
            drive.fault('none')
            if name == 'gone': drive.up()
            filler.unlink(missing_ok=True)
            for o in drive.back.rglob('* (1)*'): o.unlink()
            seen[name] = seen.get(name, 0) + 1
            time.sleep(rng.uniform(.5, 2))
        t.on = False; t.join()
        late,last = p.finish(60),t.step
        print(f'faults: {seen}; rounds in which trouble was shown at their end: {shown}; lines said: {len(said)}')
        print(f'{last} checkpoints handed over, the slowest in {1000*max(t.slow):.0f} ms; {t.checks} looks behind the mount, {len(t.lost)} found less than was promised {t.lost[:5]}')
        kept = [s for s in p.others[0].steps() if whole(t.behind, s)]
        ok = late is None and not t.lost and last in kept and t.best in kept
        print(f'in the end whole on Drive: {kept} (best {t.best}, newest {last}); {"all is well" if ok else late or "BAD"}')
    finally:
        drive.down(); os.system(f'umount -l {drive.back}')
    shutil.rmtree(d, ignore_errors=True)
    sys.exit(0 if ok else 1)

if __name__ == '__main__': serve(*sys.argv[2:]) if sys.argv[1:2] == ['serve'] else main(*sys.argv[1:])
