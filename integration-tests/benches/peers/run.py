#!/usr/bin/env python3
"""Peers of the exchange path, as a user would run them, on loopback.

  load -> consumer-side proxy -> mutual TLS 1.3 -> provider-side proxy -> app stand-in

Peers: nginx pair, haproxy pair, and `direct` (load -> app stand-in, no proxy).
Needs: nginx haproxy wrk nghttp2-client nghttp2-server openssl (Debian packages of these names), python3.

  run.py                 everything, 3 rounds, about 10 minutes
  run.py --quick         1 round, shorter loads, about 2 minutes
  run.py --only h1,fresh,grpc,bulk,huge,paced     a subset
      h1     1 KiB POST, 1 KiB answer, HTTP/1.1, connections kept everywhere
      fresh  the same, but a new TCP connection and a full TLS handshake between the proxies for each
             exchange (no session resumption), as X-Road does by default; the caller's connection is kept
      grpc   one unary call of 1 KiB each way, HTTP/2 everywhere
      bulk   1 MiB up and down, 1 and 4 callers;  huge  100 MiB up
      paced  at a fixed rate: 100/s, 70 % of the proxy's own and of nginx's rate at 16 callers
  run.py --json FILE     also write the figures as JSON (for ratios in the same run)
  run.py --access-log    nginx writes a JSON access log line with the request body at both proxies
  run.py --target NAME=PORT[,GRPC_PORT]     measure one more system the same way: something that
                         already listens on 127.0.0.1:PORT and forwards /1k, /sink, /1m to the app
                         stand-in (its address is printed with --hold); PORT may be - where there is no HTTP/1.1
                         door; --target-pids P1,P2 adds CPU/RSS; --target-path PREFIX goes before its HTTP/1.1
                         paths, and each --target-header 'NAME: VALUE' with its calls;
                         with `fresh` it must also forward /fresh/1k
  run.py --grpc-app PORT the gRPC app stand-in is yours (h2c on 127.0.0.1:PORT) instead of nghttpd, which
                         answers any call with one 1 KiB message and the trailer grpc-status: 0
  run.py --hold          start the peers, print the addresses, wait for Enter, stop

Rounds are interleaved (every peer once, then again), the figure shown is the median, [min..max] beside it.
The latency of a 4 KiB append + fdatasync in --disk-dir is taken before and after, for figures that wait for
the disk. "conns" is TCP connections accepted on this machine per exchange (from the kernel's counters).
CPU is user+system of the two proxies (master and workers) per exchange; it moves far less than req/s
when the machine is shared. Everything binds 127.0.0.1 only; only the processes started here are stopped,
each by its pid.
"""
import argparse, json, os, shutil, signal, socket, ssl, statistics as st, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--quick', action='store_true')
ap.add_argument('--rounds', type=int)
ap.add_argument('--secs', type=float)
ap.add_argument('--only', default='h1,fresh,grpc,bulk,huge,paced')
ap.add_argument('--base-port', type=int, default=18080)
ap.add_argument('--workers', type=int, default=0, help='workers/threads per proxy; 0 = one per core')
ap.add_argument('--access-log', action='store_true', help='nginx JSON access logs with bodies (off by default, which favours the peer)')
ap.add_argument('--json')
ap.add_argument('--disk-dir', help='where to time fdatasync; the temporary folder by default')
ap.add_argument('--target', action='append', default=[])
ap.add_argument('--target-pids', default='')
ap.add_argument('--target-path', default='')
ap.add_argument('--target-header', action='append', default=[])
ap.add_argument('--grpc-app', type=int)
ap.add_argument('--hold', action='store_true')
A = ap.parse_args()
if not 1 <= (A.secs or 1) <= 15: ap.error('--secs must be from 1 to 15')
signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
ROUNDS = A.rounds or (1 if A.quick else 3)
SECS = A.secs or (1.0 if A.quick else 3.0)
ONLY = A.only.split(',')
CORES = len(os.sched_getaffinity(0))
TICK = os.sysconf('SC_CLK_TCK')

for t in ('nginx', 'haproxy', 'wrk', 'h2load', 'nghttpd', 'openssl'):
    if not shutil.which(t):
        sys.exit(f'{t} is missing: install the Debian packages nginx haproxy wrk nghttp2-client nghttp2-server openssl')

W = tempfile.mkdtemp(prefix='peers-')
procs = {}          # name -> Popen
names = ['P_APP', 'P_OK', 'P_GAPP', 'P_IN', 'P_GIN', 'P_TLS', 'P_GTLS', 'H_IN', 'H_GIN', 'H_TLS']
V = {n: str(A.base_port + i) for i, n in enumerate(names)}
wk = A.workers or CORES
if A.grpc_app: V['P_GAPP'] = str(A.grpc_app)
V.update(W=W, BODY1K='B' * 1024, WORKERS=str(wk), WORKERS_N=str(wk),
         ACCESS_LOG_C=f'{W}/consumer.log evidence' if A.access_log else 'off', ACCESS_LOG_P=f'{W}/provider.log evidence' if A.access_log else 'off')

def stop():
    for p in procs.values():
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
    for p in procs.values():
        try: p.wait(3)
        except subprocess.TimeoutExpired: p.kill(); p.wait()
    shutil.rmtree(W, ignore_errors=True)

def sh(*a): subprocess.run(a, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def certs():
    sh('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
       '-subj', '/CN=peer test CA', '-keyout', f'{W}/ca.key', '-out', f'{W}/ca.pem')
    open(f'{W}/ext', 'w').write('subjectAltName=DNS:localhost\n')
    for n in ('server', 'client'):
        sh('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={n}',
           '-keyout', f'{W}/{n}.key', '-out', f'{W}/{n}.csr')
        sh('openssl', 'x509', '-req', '-in', f'{W}/{n}.csr', '-CA', f'{W}/ca.pem', '-CAkey', f'{W}/ca.key', '-CAcreateserial',
           '-days', '30', '-extfile', f'{W}/ext', '-out', f'{W}/{n}.pem')
        open(f'{W}/{n}.comb', 'w').write(open(f'{W}/{n}.pem').read() + open(f'{W}/{n}.key').read())

def conf(src):
    t = open(f'{HERE}/conf/{src}.in').read()
    for k, v in V.items(): t = t.replace(f'@{k}@', v)
    p = f'{W}/{src}'
    open(p, 'w').write(t)
    return p

def wait_port(p, who):
    for _ in range(100):
        if procs[who].poll() is not None: sys.exit(f'{who} did not start; see its error log or the port in use: {p}')
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', int(p))) == 0: return
        time.sleep(0.05)
    sys.exit(f'{who} does not listen on {p}')

def start():
    os.makedirs(f'{W}/www')
    os.makedirs(f'{W}/grpc/perf.Echo')
    os.chmod(W, 0o755)
    open(f'{W}/www/1m', 'wb').write(os.urandom(1 << 20))
    open(f'{W}/grpc/perf.Echo/Call', 'wb').write(b'\0' + (1027).to_bytes(4, 'big') + b'\x0a\x80\x08' + b'B' * 1024)
    open(f'{W}/post1k', 'wb').write(b'A' * 1024)
    open(f'{W}/post1m', 'wb').write(os.urandom(1 << 20))
    open(f'{W}/grpcpost', 'wb').write(b'\0' + (1027).to_bytes(4, 'big') + b'\x0a\x80\x08' + b'A' * 1024)
    with open(f'{W}/post100m', 'wb') as f:
        for _ in range(100): f.write(os.urandom(1 << 20))
    for n, b in (('lua1k', 1024), ('lua1m', 1 << 20)):
        open(f'{W}/{n}', 'w').write(f'wrk.method="POST"; wrk.body=string.rep("A",{b})\n')
    certs()
    devnull = subprocess.DEVNULL
    for n in ('backend', 'provider', 'consumer'):
        procs['ng-' + n] = subprocess.Popen(['nginx', '-e', f'{W}/{n}.err', '-p', W, '-c', conf(f'{n}.nginx')], stdout=devnull, stderr=devnull)
    if not A.grpc_app:
        # waits for the end of the request before it answers
        procs['grpc-app'] = subprocess.Popen(['nghttpd', '--no-tls', '-a', '127.0.0.1', '-n', '1', '-d', f'{W}/grpc', '--trailer', 'grpc-status: 0', V['P_GAPP']], stdout=devnull, stderr=devnull)
    for n in ('provider', 'consumer'):
        procs['ha-' + n] = subprocess.Popen(['haproxy', '-db', '-q', '-f', conf(f'{n}.haproxy')], stdout=devnull, stderr=devnull)
    for who, ports in ((('grpc-app', 'P_GAPP'),) if not A.grpc_app else ()) + (('ng-backend', 'P_APP P_OK'), ('ng-provider', 'P_TLS P_GTLS'), ('ng-consumer', 'P_IN P_GIN'), ('ha-provider', 'H_TLS'), ('ha-consumer', 'H_IN H_GIN')):
        for p in ports.split(): wait_port(V[p], who)

def check():
    """what is measured is what is said: TLS 1.3, a client certificate demanded, 1 KiB back through the pair"""
    def get(port, cert):
        c = ssl.create_default_context(cafile=f'{W}/ca.pem')
        if cert: c.load_cert_chain(f'{W}/client.pem', f'{W}/client.key')
        try:
            with socket.create_connection(('127.0.0.1', int(port)), 5) as t, c.wrap_socket(t, server_hostname='localhost') as s:
                s.sendall(b'GET /1k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
                o = b''
                while b := s.recv(65536): o += b
                return s.version(), int(o.split()[1]), len(o.split(b'\r\n\r\n', 1)[1])
        except ssl.SSLError as e: return 'refused', 0, 0
    for who, port in (('nginx', V['P_TLS']), ('haproxy', V['H_TLS'])):
        if get(port, True) != ('TLSv1.3', 200, 1024): sys.exit(f'{who} does not answer over TLS 1.3: {get(port, True)}')
        if get(port, False)[1] == 200: sys.exit(f'{who} does not demand a client certificate')
    for name, d in peers().items():
        for path in () if not d['h1'] else ('/1k',) + (('/fresh/1k',) if 'fresh' in ONLY else ()):
            with socket.create_connection(('127.0.0.1', int(d['h1'])), 5) as s:
                more = ''.join(f'{header}\r\n' for header in d.get('headers', ()))
                s.sendall(f'POST {d.get("path", "")}{path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\nContent-Length: 1024\r\n\r\n'.encode() + b'A' * 1024)
                o = b''
                while b := s.recv(65536): o += b
            if b' 200 ' not in o[:20] or len(o.split(b'\r\n\r\n', 1)[1]) != 1024: sys.exit(f'{name} {path}: {o[:80]}')

def accepts():
    rows = [l.split() for l in open('/proc/net/snmp') if l.startswith('Tcp:')]
    return int(rows[1][rows[0].index('PassiveOpens')])

def disk():
    """p50 and p99 in us of 300 appends of 4 KiB + fdatasync, file growing"""
    with tempfile.NamedTemporaryFile(dir=A.disk_dir or W) as f:
        v = []
        for i in range(300):
            t = time.perf_counter()
            os.pwrite(f.fileno(), b'x' * 4096, i * 4096)
            os.fdatasync(f.fileno())
            v.append((time.perf_counter() - t) * 1e6)
    v.sort()
    return dict(p50=round(v[150]), p99=round(v[297]))

def family(pid):
    out = [pid]
    try: kids = open(f'/proc/{pid}/task/{pid}/children').read().split()
    except OSError: kids = []
    for k in kids: out += family(int(k))
    return out

def cpu(pids):
    t = 0
    for p in pids:
        try: f = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
        except OSError: continue
        t += int(f[11]) + int(f[12])
    return t * 1e6 / TICK

def rss(pids, field='VmRSS'):
    t = 0
    for p in pids:
        try:
            for l in open(f'/proc/{p}/status'):
                if l.startswith(field): t += int(l.split()[1])
        except OSError: pass
    return t / 1024

def peers():
    d = {'direct': dict(h1=V['P_APP'], g=V['P_GAPP'], pids=[]),
         'nginx pair': dict(h1=V['P_IN'], g=V['P_GIN'], pids=family(procs['ng-consumer'].pid) + family(procs['ng-provider'].pid)),
         'haproxy pair': dict(h1=V['H_IN'], g=V['H_GIN'], pids=family(procs['ha-consumer'].pid) + family(procs['ha-provider'].pid))}
    tp = [int(x) for x in A.target_pids.split(',') if x]
    for t in A.target:
        n, ports = t.split('=')
        q = ports.split(',')
        d[n] = dict(path=A.target_path, headers=A.target_header, h1=q[0] if q[0] != '-' else None, g=q[1] if len(q) > 1 else None, pids=[p for x in tp for p in family(x)])
    return d

UNIT = {'us': 1, 'ms': 1e3, 's': 1e6, 'm': 6e7}
def us(x):
    for u in ('us', 'ms', 's', 'm'):
        if x.endswith(u): return float(x[:-len(u)]) * UNIT[u]

def wrk(d, path, conc, lua=None, secs=None):
    port, path = d['h1'], d.get('path', '') + path
    a = ['wrk', '-t1', f'-c{conc}', f'-d{max(1, round(secs or SECS))}s', '--latency', '--timeout', '20s']
    if lua: a += ['-s', f'{W}/{lua}']
    for header in d.get('headers', ()): a += ['-H', header]
    o = subprocess.run(a + [f'http://127.0.0.1:{port}{path}'], capture_output=True, text=True, timeout=60).stdout
    r = dict(err=0)
    for l in o.splitlines():
        f = l.split()
        if l.startswith('Requests/sec'): r['rate'] = float(f[1])
        elif f[:1] == ['50%']: r['p50'] = us(f[1])
        elif f[:1] == ['99%']: r['p99'] = us(f[1])
        elif 'requests in' in l: r['n'] = int(f[0])
        elif 'Non-2xx' in l: r['err'] += int(f[-1])
        elif 'Socket errors' in l: r['err'] += sum(int(x.strip(',')) for x in f if x.strip(',').isdigit())
    return r

def h2load(d, path, conc, streams=1, h1=False, body='grpcpost', rps=None, n=None, secs=None, grpc=True):
    port = d['h1' if h1 else 'g']
    if h1: path = d.get('path', '') + path
    log = f'{W}/h2.log'
    if os.path.exists(log): os.remove(log)
    a = ['h2load', '-t', '1', '-c', str(conc), '-m', str(streams), '--log-file', log]
    a += ['-n', str(n)] if n else ['-D', f'{round((secs or SECS) * 1000)}ms']
    if h1: a += ['--h1']
    if body: a += ['-d', f'{W}/{body}']
    if grpc: a += ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
    for header in d.get('headers', ()): a += ['-H', header]
    if rps: a += [f'--rps={rps}']
    o = subprocess.run(a + [f'http://127.0.0.1:{port}{path}'], capture_output=True, text=True, timeout=120).stdout
    lat, err, t0, t1 = [], 0, None, 0
    for l in open(log):
        s, code, d = l.split()
        if code != '200':
            err += code != '-1'        # -1: cut off in flight when the time was up
            continue
        s, d = int(s), int(d)
        lat.append(d); t0 = s if t0 is None else min(t0, s); t1 = max(t1, s + d)
    lat.sort()
    if not lat: return dict(rate=0, p50=0, p99=0, n=1, err=err or 1)
    for l in o.splitlines():
        if l.startswith('finished in'): rate = float(l.split(',')[1].split()[0])
    return dict(rate=rate, p50=lat[len(lat) // 2], p99=lat[min(len(lat) - 1, int(len(lat) * .99))], n=len(lat), err=err)

RES = {}
def note(section, case, peer, r, nbytes=0): RES.setdefault((section, case), {}).setdefault(peer, []).append((r, nbytes))

def go(section, case, peer, d, fn, nbytes=0):
    pids = d['pids']
    app = family(procs['ng-backend'].pid) + (family(procs['grpc-app'].pid) if 'grpc-app' in procs else [])
    c0, b0, a0 = cpu(pids), cpu(app), accepts()
    r = fn()
    r['cpu'] = (cpu(pids) - c0) / max(1, r.get('n', 1))
    r['appcpu'] = (cpu(app) - b0) / max(1, r.get('n', 1))
    r['conns'] = (accepts() - a0) / max(1, r.get('n', 1))
    r['rss'] = rss(pids)
    note(section, case, peer, r, nbytes)
    return r

def section_closed(P):
    for _ in range(ROUNDS):
        for name, d in P.items():
            for c in (1, 16, 64):
                if 'h1' in ONLY and d['h1']: go('HTTP/1.1 POST 1 KiB -> 1 KiB', f'c={c}', name, d, lambda: wrk(d, '/1k', c, 'lua1k'), 2048)
                if 'fresh' in ONLY and d['h1']: go('HTTP/1.1 POST 1 KiB -> 1 KiB, new TLS connection each', f'c={c}', name, d, lambda: wrk(d, '/fresh/1k', c, 'lua1k'), 2048)
                if 'grpc' in ONLY and d['g']: go('gRPC unary 1 KiB -> 1 KiB', f'c={c}', name, d, lambda: h2load(d, '/perf.Echo/Call', 1 if c == 1 else 4, max(1, c // 4)), 2048)

def section_bulk(P):
    for _ in range(ROUNDS):
        for name, d in P.items():
            if not d['h1']: continue
            variants = [('', name)] + ([('/stream', name + ' (unbuffered)')] if name == 'nginx pair' else [])
            for pre, label in variants:
                for c in (1, 4):
                    go('HTTP/1.1 1 MiB upload', f'c={c}', label, d, lambda: wrk(d, pre + '/sink', c, 'lua1m'), 1 << 20)
                    go('HTTP/1.1 1 MiB download', f'c={c}', label, d, lambda: wrk(d, pre + '/1m', c), 1 << 20)

def section_huge(P):
    for _ in range(ROUNDS):
        for name, d in P.items():
            if not d['h1']: continue
            variants = [('', name)] + ([('/stream', name + ' (unbuffered)')] if name == 'nginx pair' else [])
            for pre, label in variants:
                go('HTTP/1.1 100 MiB upload', 'c=1', label, d, lambda: h2load(d, pre + '/sink', 1, h1=True, body='post100m', n=4, grpc=False), 100 << 20)

def section_paced(P):
    """low load: 100/s in all; 70 %: that share of the slowest proxy's own closed-loop c=16 rate of this run"""
    for kind, key in (('HTTP/1.1', 'h1'), ('gRPC', 'g')):
        sec = 'HTTP/1.1 POST 1 KiB -> 1 KiB' if key == 'h1' else 'gRPC unary 1 KiB -> 1 KiB'
        base = RES.get((sec, 'c=16'), {})
        for _ in range(ROUNDS):
            for name, d in P.items():
                if not d[key]: continue
                def f(rate, conc):
                    rps = max(1, round(rate / conc))
                    if key == 'h1': return h2load(d, '/1k', conc, h1=True, body='post1k', rps=rps, grpc=False)
                    return h2load(d, '/perf.Echo/Call', conc, rps=rps)
                go(f'{kind} paced 1 KiB', '100/s', name, d, lambda: f(100, 2), 2048)
                if name in base:
                    m = st.median(x[0]['rate'] for x in base[name])
                    go(f'{kind} paced 1 KiB', '70% own max', name, d, lambda: f(.7 * m, 32), 2048)
                ng = base.get('nginx pair')
                if ng:
                    m = st.median(x[0]['rate'] for x in ng)
                    go(f'{kind} paced 1 KiB', '70% nginx max', name, d, lambda: f(.7 * m, 32), 2048)

def table():
    js = {}
    for (sec, case), by in RES.items():
        for peer, rows in by.items():
            r = {k: st.median(x[0].get(k, 0) for x in rows) for k in ('rate', 'p50', 'p99', 'cpu', 'appcpu', 'rss', 'conns')}
            for k in ('rate', 'p50', 'p99'):
                r[k + '_min'], r[k + '_max'] = min(x[0].get(k, 0) for x in rows), max(x[0].get(k, 0) for x in rows)
            r['err'] = sum(x[0]['err'] for x in rows)
            r['mbps'] = r['rate'] * rows[0][1] / 1e6
            js.setdefault(sec, {}).setdefault(case, {})[peer] = {k: round(v, 3 if k == 'conns' else 1) for k, v in r.items()}
    last = None
    for sec in js:
        print(f'\n## {sec}')
        print(f'{"case":<14}{"peer":<26}{"req/s":>8} {"[min..max]":>16}{"p50 us":>9}{"p99 us":>9}{"+p50":>7}{"proxy CPU us":>14}{"MB/s":>8}{"RSS MiB":>9}{"conns":>7}{"errors":>8}')
        for case, by in js[sec].items():
            d50 = by.get('direct', {}).get('p50', 0)
            for peer, r in by.items():
                plus = '' if peer == 'direct' else f'{r["p50"] - d50:.0f}'
                print(f'{case:<14}{peer:<26}{r["rate"]:>8.0f} {"[%d..%d]" % (r["rate_min"], r["rate_max"]):>16}{r["p50"]:>9.0f}{r["p99"]:>9.0f}{plus:>7}{r["cpu"]:>14.1f}{r["mbps"]:>8.0f}{r["rss"]:>9.0f}{r["conns"]:>7.2f}{r["err"]:>8.0f}')
    if A.json:
        with open(A.json, 'w') as f: json.dump(dict(meta=META, results=js), f, indent=1)

def version(*a):
    o = subprocess.run(a, capture_output=True, text=True)
    return (o.stdout + o.stderr).splitlines()[0].strip()

META = dict(cores=CORES, workers=wk, rounds=ROUNDS, secs=SECS, access_log=A.access_log, kernel=os.uname().release,
            versions=[version('nginx', '-v'), version('haproxy', '-v'), version('wrk', '-v'), version('h2load', '--version'), version('openssl', 'version')])

try:
    start()
    check()
    P = peers()
    META['fdatasync_4k_us_before'] = disk()
    print(*META['versions'], sep='\n')
    print(f'4 KiB append + fdatasync before: {META["fdatasync_4k_us_before"]} us')
    print(f'cores {CORES}, {wk} workers per proxy, rounds {ROUNDS}, {SECS:g} s per load, load average at start {os.getloadavg()[0]:.1f}')
    if A.hold:
        print('direct', V['P_APP'], V['P_GAPP'], '| nginx pair', V['P_IN'], V['P_GIN'], '| haproxy pair', V['H_IN'], V['H_GIN'])
        input('Enter to stop ')
    else:
        if {'h1', 'fresh', 'grpc'} & set(ONLY): section_closed(P)
        if 'paced' in ONLY: section_paced(P)
        if 'bulk' in ONLY: section_bulk(P)
        if 'huge' in ONLY: section_huge(P)
        META['fdatasync_4k_us_after'] = disk()
        table()
        print(f'4 KiB append + fdatasync after: {META["fdatasync_4k_us_after"]} us')
        print(f'load average at end {os.getloadavg()[0]:.1f}')
finally:
    stop()
