"""Types the start of a line at a shell on a pseudo-terminal, presses Tab, and prints the last argument of what stands there."""
import fcntl, os, pty, select, struct, sys, termios

shell, line = sys.argv[1:]
PROGRAMS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'; source <(bugfender-hooks completions bash)"),
    "zsh": (["zsh", "-f", "-i"], "unsetopt beep; autoload -Uz compinit; compinit -u -d $PWD/dump; source <(bugfender-hooks completions zsh)"),
    "fish": (["fish", "--no-config", "-i"], "bugfender-hooks completions fish | source"),
}
program, setup = PROGRAMS[shell]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(program[0], program)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))


def read_until(text):
    shown = b""
    while text not in shown:
        if not select.select([terminal], [], [], 60)[0]:
            break
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    return shown.decode(errors="replace")


os.write(terminal, f"{setup}; echo re''ady\n".encode())
read_until(b"ready")
# Ctrl-A and Ctrl-E are the start and the end of the line.
os.write(terminal, line.encode() + b"\t\x01./show \x05; echo do''ne\n")
shown = read_until(b"done\r")
found = [line for line in shown.splitlines() if line.startswith("LAST ")]
print(found[-1][5:] if found else repr(shown[-300:]))
