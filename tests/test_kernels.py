"""The kernels against their definitions: on a card, or by Triton's interpreter, or not at all where there is no Triton."""
import importlib.util, os, subprocess, sys
import pytest, torch

CARD = torch.cuda.is_available()
if not (CARD or importlib.util.find_spec('triton')): pytest.skip('neither a card nor Triton', allow_module_level=True)
DEVICE,TYPE = ('cuda', torch.bfloat16) if CARD else ('cpu', torch.float32)

@pytest.fixture
def both(monkeypatch):
    "A function that runs `f` on clones of tensors, once as a kernel and once by its definition"
    from medqa_nb.core import kernels
    def run(f, *tensors):
        out = []
        for on in (True, False):
            with monkeypatch.context() as m:
                m.setattr(kernels, 'fused', lambda x: on)
                if on and not CARD: m.setenv('TRITON_INTERPRET', '1')
                t = [o.clone() for o in tensors]
                r = f(*t)
                out.append([*t, *([] if r is None else [r])])
        for a,b in zip(*out): torch.testing.assert_close(a.float(), b.float(), rtol=2e-2 if a.dtype == torch.bfloat16 else 1e-4, atol=2e-2 if a.dtype == torch.bfloat16 else 1e-5)
    return run

def rand(*shape, dtype=TYPE): return torch.randn(*shape, device=DEVICE).to(dtype)

@pytest.mark.parametrize('n,h', [(1, 256), (7, 320)])
def test_rms_norm(both, n, h):
    from medqa_nb.core.kernels import rms_norm, rms_norm_back
    x,w,wide = rand(n, h),rand(h),rand(n, h + 24)
    both(lambda x, w, wide: rms_norm(x, w, 1e-5, wide[:,:h]), x, w, wide)
    r = torch.rsqrt(x.float().pow(2).mean(1) + 1e-5)
    both(lambda dn, x, w, r, d, out: rms_norm_back(dn, x, w, r, d, out), rand(n, h), x, w, r, rand(n, h), rand(n, h))
    both(lambda dn, x, w, r, d: rms_norm_back(dn[:,:h], x, w, r, d, d), rand(n, h + 24), x, w, r, rand(n, h))

@pytest.mark.parametrize('heads', [1, 5, 8])
def test_rotate(both, heads):
    from medqa_nb.core.kernels import rotate
    a = torch.rand(6, 32, device=DEVICE)*6
    both(lambda s, d, c, n: rotate(s[:,:heads*64], d[:,8:8+heads*64], c, n, -1), rand(6, heads*64 + 16), rand(6, heads*64 + 16), a.cos(), a.sin())

@pytest.mark.parametrize('i', [256, 2560])
def test_swiglu(both, i):
    from medqa_nb.core.kernels import swiglu, swiglu_back
    both(lambda gu, out: swiglu(gu, out[:,:i]), rand(3, 2*i + 32), rand(3, i + 16))
    both(lambda dh, gu: swiglu_back(dh, gu), rand(3, i), rand(3, 2*i + 32))

@pytest.mark.parametrize('v', [1000, 16384])
def test_cross_entropy(both, v):
    from medqa_nb.core.kernels import cross_entropy
    z = rand(4, v)*5; z[0,0] = 200. # far from the others
    both(cross_entropy, z, torch.tensor([0, 1, v - 1, 5], device=DEVICE))

@pytest.mark.parametrize('nested', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16] + [torch.bfloat16]*CARD) # the interpreter cuts bf16 instead of rounding
def test_unpack_is_bitsandbytes(nested, dtype, monkeypatch):
    "Bit for bit"
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from bitsandbytes.nn import Params4bit
    from medqa_nb.core import kernels
    w = torch.randn(200, 448, device=DEVICE).to(dtype)
    q,s = quantize_4bit(w, quant_type='nf4', compress_statistics=nested)
    p,wide = Params4bit(q, requires_grad=False, quant_state=s, bnb_quantized=True),torch.zeros(200, 512, dtype=dtype, device=DEVICE)
    monkeypatch.setattr(kernels, 'fused', lambda x: True)
    if not CARD: monkeypatch.setenv('TRITON_INTERPRET', '1')
    kernels.unpack(p, wide[:,:448])
    want = dequantize_4bit(p.data, p.quant_state)
    if CARD and dtype == torch.float32: torch.testing.assert_close(wide[:,:448], want, rtol=1e-6, atol=1e-7) # a card multiplies and adds in one rounding
    else: assert torch.equal(wide[:,:448], want)
    assert not wide[:,448:].any()

@pytest.mark.parametrize('nested', [True, False])
def test_a_whole_matrix(nested, monkeypatch):
    "One launch writes what one step after the other writes; a layer without an adapter, ranks of their own, and addresses that change"
    from types import SimpleNamespace as N
    from bitsandbytes.functional import quantize_4bit
    from bitsandbytes.nn import Params4bit
    from medqa_nb.core import augmented, kernels
    if not CARD: monkeypatch.setenv('TRITON_INTERPRET', '1')
    def linear(outputs, inputs, rank):
        q,s = quantize_4bit(torch.randn(outputs, inputs, device=DEVICE), quant_type='nf4', compress_statistics=nested)
        o = N(base_layer=N(weight=Params4bit(q, requires_grad=False, quant_state=s, bnb_quantized=True), out_features=outputs, in_features=inputs), active_adapters=['x'], scaling=dict(x=.5))
        o.lora_A,o.lora_B = ({'x':N(weight=torch.randn(shape, device=DEVICE))} if rank else {} for shape in ((rank, inputs), (outputs, rank)))
        return o
    k = augmented.Matrix(linear(64, 320, 5), linear(128, 320, 0), linear(192, 320, 40))
    for again in range(2):
        out = []
        for on in (True, False):
            monkeypatch.setattr(kernels, 'fused', lambda x: on); monkeypatch.setattr(augmented, 'fused', lambda x: on)
            space = torch.full((k.size,), 7., dtype=TYPE, device=DEVICE)
            m = augmented.Open(k, space)
            if on: assert augmented.table_of(k)
            out.append([m.up, m.left])
        for a,b in zip(*out): torch.testing.assert_close(a, b, rtol=1e-6 if TYPE == torch.float32 else 1e-2, atol=1e-6)
        for kind in augmented.EIGHT.values() if CARD else [augmented.Int8]: # the interpreter does not know e4m3
            out = []
            for on in (True, False):
                monkeypatch.setattr(kernels, 'fused', lambda x: on); monkeypatch.setattr(augmented, 'fused', lambda x: on)
                k.__dict__.pop('scale', None)
                m = kind(k, torch.full((k.size,), 7., dtype=TYPE, device=DEVICE))
                out.append([m.w.float(), m.b.float(), m.a.float()])
            assert (out[0][0] != out[1][0]).float().mean() < 2e-3 # where the quotient lies between two numbers
            assert (out[0][0] - out[1][0]).norm() < .01*out[1][0].norm()
            for a,b in zip(*(o[1:] for o in out)): torch.testing.assert_close(a, b, rtol=1e-6 if TYPE == torch.float32 else 1e-2, atol=1e-6)
        for o in k.linears[::2]: o.adapter = [p.clone() + 1 for p in o.adapter] # elsewhere now

@pytest.mark.parametrize('length', [5, 100])
def test_attention_to_a_slots_past(both, monkeypatch, length):
    "Slots of different lengths, queries that share keys, a full one and one with a single token"
    from medqa_nb.core import decoding, kernels
    monkeypatch.setattr(decoding, 'fused', lambda x: kernels.fused(x))
    n = torch.tensor([1, length, length//2], device=DEVICE)
    both(lambda q, k, v: decoding.attend(q, k, v, n), rand(3, 8, 64), rand(3, length, 2, 64), rand(3, length, 2, 64))

@pytest.mark.parametrize('n,m', [(1, 1), (130, 257)])
def test_turn(both, n, m):
    from medqa_nb.core.kernels import turn
    both(turn, torch.randint(0, 255, (n, m), dtype=torch.uint8, device=DEVICE), torch.zeros(m, n, dtype=torch.uint8, device=DEVICE))

EIGHT = ['int8', pytest.param('float8_e4m3fn', marks=pytest.mark.skipif(not (CARD and torch.cuda.get_device_capability() >= (8, 9)), reason='wants a card with products of e4m3'))]

@pytest.mark.parametrize('dtype', EIGHT)
@pytest.mark.parametrize('scaled', [True, False])
@pytest.mark.parametrize('n,width', [(1, 1024), (7, 1056), (300, 1024)])
def test_to_eight(n, width, scaled, dtype, monkeypatch):
    "Rows that are apart, and not of the same size"
    from medqa_nb.core import kernels
    if not CARD: monkeypatch.setenv('TRITON_INTERPRET', '1')
    x,columns,got = rand(n, width + 32)[:,:width]*torch.rand(n, 1, device=DEVICE).to(TYPE),torch.rand(width, device=DEVICE) if scaled else None,[]
    for on in (True, False):
        monkeypatch.setattr(kernels, 'fused', lambda x: on)
        got.append(kernels.to_eight(x, getattr(torch, dtype), columns))
    (q,s),(want_q,want_s) = got
    torch.testing.assert_close(s, want_s, rtol=1e-6, atol=0)
    assert (q.float() != want_q.float()).float().mean() < 1e-3 # where the quotient lies between two numbers
    for odd in (float('nan'), float('inf')):
        x[0,5] = odd
        for on in (True, False):
            monkeypatch.setattr(kernels, 'fused', lambda x: on)
            assert kernels.to_eight(x, getattr(torch, dtype), columns)[1].isfinite().tolist() == [False] + [True]*(n - 1)

@pytest.mark.parametrize('n,inputs,outputs', [(1, 1024, 2048), (7, 320, 144), (300, 1024, 2048)] + [(2500, 1024, 4096)]*CARD)
@pytest.mark.parametrize('dtype', EIGHT)
@pytest.mark.parametrize('by_triton', [True] + [False]*CARD)
def test_eight_bits(n, inputs, outputs, by_triton, dtype, monkeypatch):
    "Products forward and backward; by Triton, and by torch as on a T4"
    from medqa_nb.core import kernels
    if not CARD: monkeypatch.setenv('TRITON_INTERPRET', '1')
    monkeypatch.setattr(kernels, 'triton_multiplies', lambda device: by_triton)
    dtype = getattr(torch, dtype)
    x,w = rand(n, inputs),torch.randn(outputs, inputs, device=DEVICE)*torch.rand(outputs, 1, device=DEVICE)
    t = w.abs().amax(1)/kernels.largest_of(dtype)
    eight = kernels.rounded(w/t[:,None], dtype).to(dtype)
    whole,wide = eight.float()*t[:,None],torch.zeros(n, outputs + 64, dtype=TYPE, device=DEVICE)
    monkeypatch.setattr(kernels, 'fused', lambda x: True)
    def check(got, x, w, columns=None):
        q,s = kernels.to_eight(x, dtype, columns)
        want = (q.double()@w.double().T*s[:,None]).float()
        assert (got.float() - want).norm() < (.01 if CARD else 1e-5)*want.norm()
    out = wide[:,:outputs] if dtype == torch.int8 else None # rows that are apart
    check(kernels.eight_bits(x, eight, rows=t, out=out), x, whole)
    assert not wide[:,outputs:].any()
    dy = rand(n, outputs)
    check(kernels.eight_bits(dy, eight.T.contiguous(), columns=t), dy, eight.T, t)
