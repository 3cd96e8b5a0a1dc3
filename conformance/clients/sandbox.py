"""A throw-away network in which every host name leads to a stand-in.

The process re-runs itself in its own network, mount and PID namespace, so that rendered files are used as they are:
a small name server answers for every host, one server listens on every port that matters, speaks TLS to those who
start with it, and shows a certificate for whatever name they ask for, by an authority that is trusted in here only.
Nothing outlives the process.
"""

import contextlib
import gzip
import http.server
import json
import os
import pathlib
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time

import report
import zstandard

INSIDE = "FLOE_CONFORMANCE_SANDBOX"
SCRATCH = pathlib.Path("/run/conformance")
HERE = "10.99.0.1"  # the workload, the name server and the stand-in
POD = "10.99.0.2"  # the collector, in a network of its own as in its pod
JAEGER = "10.99.0.3"  # beside the stand-in, for exporters that reach a real backend
REPLICA = "10.99.0.4"  # a second collector, in a network of its own too


class Unavailable(Exception):
    """This machine cannot give us a sandbox."""


def entered(consumer, names=("-",)):
    """Whether the script runs inside the namespaces from here on; where it cannot, all that it would have tried is skipped."""
    try:
        enter()
    except Unavailable as reason:
        for name in names:
            report.skipped(consumer, name, reason)
        return False
    return True


def enter():
    """Re-run this script inside the namespaces; returns only once inside."""
    if os.environ.get(INSIDE) == "yes":
        _furnish()
        return
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    if not shutil.which("unshare") or not shutil.which("ip"):
        raise Unavailable("`unshare` and `ip` (util-linux, iproute2) are needed")
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode:
        raise Unavailable(f"no namespaces here: {probe.stderr.strip()}")
    os.environ[INSIDE] = "yes"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def _run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def _furnish():
    # Private copies of what the consumers read: /run for scratch, /etc for names and trust, /var/lib for volumes.
    for private in ("/run", "/var/lib"):
        _run("mount", "-t", "tmpfs", "tmpfs", private)
    upper, work = SCRATCH / "etc", SCRATCH / "work"
    for directory in (upper, work, pathlib.Path("/run/netns")):
        directory.mkdir(parents=True)
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "/etc")
    for path, text in (("resolv.conf", f"nameserver {HERE}\n"), ("hosts", "127.0.0.1 localhost\n")):
        target = pathlib.Path("/etc", path)
        target.unlink(missing_ok=True)
        target.write_text(text)
    _run("ip", "link", "set", "lo", "up")
    try:
        _run("ip", "link", "add", "name", "here", "type", "bridge")
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"no bridge between networks here: {error.stderr.strip()}") from error
    for address in (HERE, JAEGER):
        _run("ip", "addr", "add", f"{address}/24", "dev", "here")
    _run("ip", "link", "set", "here", "up")
    for address, name in _PODS.items():
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", name, "master", "here", "up")
        for command in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up", f"route add default via {HERE}"):
            _run("ip", "-n", name, *command.split())


_PODS = {POD: "pod", REPLICA: "replica"}


def in_pod(command, address=POD, **options):
    """Start a process in a collector's own network."""
    return subprocess.Popen(["ip", "netns", "exec", _PODS[address], *command], **options)


def provide(path, content, mounts):
    """Writes a file where a program looks for it, if the values mount a volume there."""
    if not any(path.startswith(mount.rstrip("/") + "/") for mount in mounts):
        raise report.Wrong(f"`{path}` is in no volume that the values mount")
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@contextlib.contextmanager
def root():
    """A root directory for one pod: all that is here, and what is written there stays there."""
    here = SCRATCH / "pod"
    upper, work, merged = here / "upper", here / "work", here / "root"
    for directory in (upper, work, merged):
        directory.mkdir(parents=True)
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(merged))
    try:
        yield merged
    finally:
        _run("umount", str(merged))
        shutil.rmtree(here)


class Authority:
    """Issues certificates, and is trusted by every program in here that asks the system or certifi."""

    def __init__(self):
        import certifi
        import trustme

        self._ca = trustme.CA()
        self._contexts = {}
        self.pem = self._ca.cert_pem.bytes()
        system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        system.parent.mkdir(parents=True, exist_ok=True)
        system.unlink(missing_ok=True)
        system.write_bytes(self.pem)
        # A pod's own identity, for what asks the cluster. /var/run is /run.
        identity = pathlib.Path("/run/secrets/kubernetes.io/serviceaccount")
        identity.mkdir(parents=True)
        (identity / "token").write_text("token")
        (identity / "ca.crt").write_bytes(self.pem)
        # Python's clients carry their own list of authorities.
        _run("mount", "--bind", str(system), certifi.where())

    def certificate(self, *names):
        """The PEM certificate chain and key for some names."""
        issued = self._ca.issue_cert(*names)
        return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()

    def context(self, name):
        if name not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ca.issue_cert(name).configure_cert(context)
            self._contexts[name] = context
        return self._contexts[name]


class Names:
    """Answers every A query with one address, except for the names in `elsewhere`, which may have several."""

    def __init__(self):
        self.elsewhere = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HERE, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
                at += 1 + query[at]
            kind = struct.unpack("!H", query[at + 1 : at + 3])[0]
            question = query[12 : at + 5]
            found = self.elsewhere.get(".".join(labels).lower(), HERE) if kind == 1 else []
            addresses = [found] if isinstance(found, str) else found
            answers = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address) for address in addresses]
            header = query[:2] + b"\x85\x80" + struct.pack("!HHHH", 1, len(answers), 0, 0)
            self._socket.sendto(header + question + b"".join(answers), client)


class StandIn:
    """Accepts every HTTP request on the given ports, and remembers it."""

    def __init__(self, authority, ports):
        self.requests = []
        self._servers = [Server((HERE, port), self, authority, _Handler) for port in sorted(ports)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def stand_in(authority, ports):
    server = StandIn(authority, ports)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def grpc_stand_in(authority, hosts):
    """Accepts every unary gRPC call over TLS beside the stand-in, under these names, and remembers it; every answer is empty."""
    from concurrent import futures

    import grpc

    calls = []

    class Any(grpc.GenericRpcHandler):
        def service(self, details):
            metadata = dict(details.invocation_metadata)

            def answer(body, context):
                calls.append({"method": details.method, "headers": metadata, "body": body})
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    chain, key = authority.certificate(*hosts)
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Any()])
    server.add_secure_port(f"{JAEGER}:443", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        yield calls
    finally:
        server.stop(0)


class Server(socketserver.ThreadingTCPServer):
    """HTTP, with TLS for those who start with it."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address, owner, authority, handler):
        self.owner, self.authority = owner, authority
        super().__init__(address, handler)

    def finish_request(self, request, client_address):
        if request.recv(1, socket.MSG_PEEK) != b"\x16":
            self.RequestHandlerClass(request, client_address, self)
            return

        def choose(connection, name, _context):
            connection.context = self.authority.context(name or self.server_address[0])

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = choose
        with context.wrap_socket(request, server_side=True) as connection:
            self.RequestHandlerClass(connection, client_address, self)

    def handle_error(self, request, client_address):
        self.owner.requests.append({"error": str(sys.exc_info()[1])})


class Quiet(http.server.BaseHTTPRequestHandler):
    """A handler that logs nothing."""

    protocol_version = "HTTP/1.1"

    def say(self, code, content, headers=()):
        text = content if isinstance(content, str) else json.dumps(content)
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class _Handler(Quiet):
    def answer(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        elif self.headers.get("Content-Encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        self.server.owner.requests.append(
            {
                "tls": isinstance(self.connection, ssl.SSLSocket),
                "host": self.headers.get("Host", "").rsplit(":", 1)[0],
                "port": self.server.server_address[1],
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body,
            }
        )
        kind, text = self._reply(body)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = answer

    def _reply(self, body):
        if "protobuf" in self.headers.get("Content-Type", ""):
            return "application/x-protobuf", b""  # an OTLP response in which everything was accepted
        if b"Action=AssumeRole" in body:
            action = "AssumeRoleWithWebIdentity" if b"WebIdentity" in body else "AssumeRole"
            return "text/xml", _ASSUMED.format(action=action).encode()
        if b"Action=DescribeInstances" in body:
            return "text/xml", _INSTANCES.encode()
        return "application/json", json.dumps(_REPLY).encode()


# What the clients need to find in an answer: a DataZone event, X-Ray segments, an OAuth token, one of another Google account.
_REPLY = {
    "id": "event",
    "domainId": "domain",
    "UnprocessedTraceSegments": [],
    "access_token": "stand-in-token",
    "token_type": "Bearer",
    "expires_in": 3600,
    "accessToken": "stand-in-token-of-another",
    "expireTime": "2099-01-01T00:00:00Z",
}

_ASSUMED = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>
<AccessKeyId>ASIASTANDIN</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></{action}Result></{action}Response>"""


_INSTANCES = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<ownerId>123456789012</ownerId><instancesSet><item><instanceId>i-0123456789abcdef0</instanceId><imageId>ami-1</imageId>
<instanceType>m5.large</instanceType><privateDnsName>node-1</privateDnsName>
<tagSet><item><key>kubernetes.io/cluster/eks-1</key><value>owned</value></item></tagSet></item></instancesSet></item>
</reservationSet></DescribeInstancesResponse>"""


def wait_until(check, seconds, process=None):
    """Call `check` until it is true, the time is over or the process is gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        if process and process.poll() is not None:
            return False
        time.sleep(0.05)
    return False
