"""Rights that a decoding child gives up before it reads callers' bytes: `enter`, then `lock_down`, and `arm` for each
job.

namespaces   network, mounts, IPC and host name of its own: as root, or in a user namespace where those are permitted
memory       RLIMIT_AS: allocations beyond it fail inside the child
files        RLIMIT_FSIZE 0 and RLIMIT_CORE 0: nothing is written, no core dumped
descriptors  RLIMIT_NOFILE at the number now open: no file, socket or pipe can be opened any more
privileges   no_new_privs, not dumpable
root         the root directory is an empty, read-only file system
landlock     no access to any file, no TCP, no signal to another process, in the kernel's own rules
user         an unprivileged user and group that no other process has, where the gateway runs as root
capabilities none
parent       killed when the gateway ends
threads      RLIMIT_NPROC
syscalls     seccomp: the system calls that decoding needs, their arguments checked; any other kills the process
python       no import from files any more, and an audit hook that refuses the rest to Python code

Each is one layer; none needs another to hold, and what a system does not offer is left out. `lock_down` returns the
names of those that took hold, and the gateway logs which are missing and why. Processor time is a timer a job (`arm`),
wall time is the parent's, which kills.
"""

from service.gateway.decoding.sandbox.lock import LAYERS, arm, enter, lock_down

__all__ = ["LAYERS", "arm", "enter", "lock_down"]
