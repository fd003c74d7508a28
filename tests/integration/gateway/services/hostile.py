"""The code of a container that tries to get out, and the world it is in.

Each attack returns the errors it got. An attack that succeeds returns a text with "got".
"""

CODE = '''
import ctypes, errno, json, resource, socket, stat, subprocess
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
ATTACKS = {}

def attack(function):
    ATTACKS[function.__name__] = function
    return function

def name_of(exc):
    return errno.errorcode.get(getattr(exc, "errno", None), type(exc).__name__)

def attempt(step, *args):
    try:
        value = step(*args)
    except (OSError, ValueError) as exc:
        return name_of(exc)
    return f"got {value!r:.60}"

def call(name, *args):
    def run():
        result = getattr(libc, name)(*args)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
    return attempt(run)

@attack
def read_files(paths):
    def read(path):
        return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(9)
    return {p: attempt(read, p) for p in paths}

@attack
def write_files(paths):
    return {p: attempt(lambda p=p: open(p, "ab").write(b"x")) for p in paths}

@attack
def read_environments(_):
    found = b""
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid():
            for name in ("environ", "cmdline", "maps", "mem"):
                try:
                    found += open(f"/proc/{entry}/{name}", "rb").read(100_000)
                except OSError:
                    pass
    return {"hush": b"hush-" in found, "pids": sum(e.isdecimal() for e in os.listdir("/proc"))}

@attack
def disturb_processes(pids):
    result = {}
    for pid in pids:
        result[f"kill {pid}"] = attempt(os.kill, pid, 9)
        result[f"ptrace {pid}"] = call("ptrace", 16, pid, 0, 0)
        result[f"memory {pid}"] = call("process_vm_readv", pid, 0, 0, 0, 0, 0)
        result[f"nice {pid}"] = attempt(os.setpriority, os.PRIO_PROCESS, pid, 10)
    return result

@attack
def connect_tcp(ports):
    def connect(port):
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            return s.getpeername()
    return {str(p): attempt(connect, p) for p in ports} | {
        "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2))}

@attack
def connect_unix(paths):
    def connect(path):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            return path
    return {p: attempt(connect, p) for p in paths}

@attack
def open_sockets(_):
    return {str(f): attempt(lambda f=f: socket.socket(f, socket.SOCK_RAW)) for f in (17, 38, 40)}

@attack
def call_kernel(_):
    table = {"mount": 165, "unshare": 272, "setns": 308, "chroot": 161, "keyctl": 250, "bpf": 321,
             "perf_event_open": 298, "io_uring_setup": 425, "userfaultfd": 323, "add_key": 248,
             "open_by_handle_at": 304, "pivot_root": 155, "reboot": 169, "settimeofday": 164}
    result = {name: call("syscall", ctypes.c_long(n), 0, 0, 0, 0, 0) for name, n in table.items()}
    result["clone namespace"] = call("syscall", ctypes.c_long(56), 0x10000011, 0, 0, 0, 0)
    return result

@attack
def gain_rights(paths):
    return {
        "setuid": attempt(os.setuid, 0),
        "setgroups": attempt(os.setgroups, [0]),
        "device": attempt(os.mknod, "disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)),
        "chown": attempt(os.chown, ".", 0, 0),
        "raise limit": attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (10**6, 10**6))
            if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 10**6 else "got no limit",
    } | {p: attempt(lambda p=p: subprocess.run([p], capture_output=True).stdout) for p in paths}

@attack
def exhaust_files(_):
    opened, error = [], ""
    try:
        while len(opened) < 5000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as exc:
        error = name_of(exc)
    for fd in opened:
        os.close(fd)
    return {"opened": len(opened), "error": error}

FORKS = """
import os, signal, time
n, error = 0, ""
try:
    while n < 5000:
        if os.fork() == 0:
            time.sleep(1000)
        n += 1
except OSError as exc:
    error = exc.strerror
print(n, flush=True)
"""

@attack
def bomb_with_forks(_):
    child = subprocess.Popen(
        [sys.executable, "-c", FORKS], stdout=subprocess.PIPE, text=True, start_new_session=True)
    forks = int(child.stdout.readline() or -1)
    os.killpg(child.pid, 9)
    child.wait()
    return {"forks": forks}

EATS = "import time; x = bytearray(%d); print(len(x), flush=True); time.sleep(1000)"

@attack
def bomb_with_memory(sizes):
    """Start processes that each stay below their own limit."""
    children = [subprocess.Popen([sys.executable, "-c", EATS % size], stdout=subprocess.PIPE)
                for size in sizes]
    answers = [child.stdout.readline().decode().strip() for child in children]
    codes = [child.poll() for child in children]
    for child in children:
        child.kill()
        child.wait()
    return {"alive": sum(bool(a) for a in answers), "codes": codes}

@service.post("/attack/{name}")
async def run(request):
    argument = await request.json()
    return await asyncio.to_thread(ATTACKS[request["name"]], argument)

@service.get("/status")
async def status(_):
    return {"status": open("/proc/self/status").read(), "pid": os.getpid()}
'''
