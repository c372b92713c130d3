"A guard against tests that reach out: with this folder in PYTHONPATH, a Python process can only connect to the loopback address. tests/conftest.py puts it into the tests' own process."
import ipaddress, socket

class LeftLoopback(OSError): "As if there were no network"

def local(host): # Name or address
    if host in (None, '', 'localhost', b'localhost', '0.0.0.0', '::'): return True
    try: return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host.partition('%')[0]).is_loopback
    except ValueError: return False

def stop(what): raise LeftLoopback(f'a test left the loopback address: {what}')

def guarded(f):
    def g(self, *args):
        address = args[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not local(address[0]): stop(address)
        return f(self, *args)
    return g

for name in ('connect', 'connect_ex', 'sendto'):
    old = getattr(socket.socket, name)
    if old.__name__ != 'g': setattr(socket.socket, name, guarded(old))

lookup = socket.getaddrinfo
if lookup.__name__ != 'looked_up':
    def looked_up(host, *args, **kw):
        if not local(host):
            try: ipaddress.ip_address(host)
            except ValueError: stop(host)
        return lookup(host, *args, **kw)
    socket.getaddrinfo = looked_up
